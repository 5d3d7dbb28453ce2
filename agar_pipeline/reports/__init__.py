"""Pages and pictures that people read. Everything here turns finished numbers into HTML; nothing is computed twice."""
