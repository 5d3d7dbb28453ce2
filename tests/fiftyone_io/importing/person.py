"""A person at work in FiftyOne: a process of its own, as a notebook or the App would be, beside the import."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

from agar_pipeline import errors
from tests.fiftyone_io.conftest import child_env

_PROGRAM = """
import json, sys
from agar_pipeline.fiftyone_io.reading.view import import_fiftyone
fo = import_fiftyone(sys.argv[1], may_write=True)
channel = sys.stdout
sys.stdout = sys.stderr
print("ready", file=channel, flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if "child" in request:
        from agar_pipeline.fiftyone_io import __main__ as children
        try:
            if fo.dataset_exists(name := request["child"].get("dataset") or request["child"]["config"]["dataset"]):
                fo.load_dataset(name).reload()
            answer = {"reply": children.main(request["child"], print)}
        except Exception as error:
            answer = {"error": type(error).__name__, "message": str(error)}
        print(json.dumps({"number": request["number"], **answer}), file=channel, flush=True)
        continue
    dataset = fo.load_dataset(request["dataset"])
    dataset.reload()
    names = {"fo": fo, "dataset": dataset, **request["names"]}
    if request["path"]:
        names["sample"] = dataset.match(fo.ViewField("filepath") == request["path"]).first()
    exec(request["code"], names)
    print(json.dumps(names.get("answer")), file=channel, flush=True)
"""


class Person:
    """Runs statements with FiftyOne, with `dataset` and, where a path is given, its `sample`."""

    def __init__(self, uri: str, log: Path) -> None:
        self._log = log
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, uri],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=child_env(),
            )
        assert self._answer() == "ready\n"

    def does(self, dataset: str, code: str, path: Path | str | None = None, **names: Any) -> Any:
        """The value of `answer`, where the code sets it."""
        request = {"dataset": dataset, "code": code, "path": path and str(path), "names": names}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._answer())

    def corrects(self, dataset: str, path: Path | str, label: str = "corrected") -> None:
        """Gives another label to the first box, or draws one where there is none."""
        self.does(
            dataset,
            "boxes = sample.ground_truth.detections\n"
            "if boxes: boxes[0].label = label\n"
            "else: sample.ground_truth = fo.Detections("
            "detections=[fo.Detection(label=label, bounding_box=[.1, .2, .3, .4])])\n"
            "sample.save()",
            path,
            label=label,
        )

    def adds(self, dataset: str, path: Path | str, boxes: int = 2) -> None:
        """A sample of their own, with boxes drawn by hand."""
        self.does(
            dataset,
            "dataset.add_sample(fo.Sample(file, note='mine', tags=['mine'], ground_truth=fo.Detections(detections=["
            "fo.Detection(label=f'hand {i}', bounding_box=[.1, .2, .3, .4]) for i in range(boxes)])))",
            file=str(path),
            boxes=boxes,
        )

    def answers_as_child(self, request: dict[str, Any]) -> dict[str, Any]:
        """What a child of ours would do for a request, without its seconds for importing FiftyOne.

        A caller may be killed before it has read its answer: answers have numbers.
        """
        assert self._process.stdin is not None
        number = uuid.uuid4().hex
        self._process.stdin.write(json.dumps({"child": request, "number": number}) + "\n")
        self._process.stdin.flush()
        while True:
            answer = json.loads(self._answer())
            if isinstance(answer, dict) and answer.get("number") == number:
                break
        if "error" in answer:
            raise getattr(errors, answer["error"], RuntimeError)(answer["message"])
        return dict(answer["reply"])

    def leaves(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self._log.read_text()[-2000:]
        return line
