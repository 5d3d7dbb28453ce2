"""From annotated photos of agar plates in FiftyOne to a colony detector you can trust."""
