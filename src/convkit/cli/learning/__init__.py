"""``convkit train``, ``evaluate``, ``predict`` and ``export``."""
