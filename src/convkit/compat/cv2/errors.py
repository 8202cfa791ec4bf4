"""The error that these functions raise where OpenCV raises ``cv2.error``."""

from __future__ import annotations

from convkit.errors import ConvError


class error(ConvError):
    """What OpenCV would refuse, with the rule and a fix; it stands where ``cv2.error`` does."""

    family = "cv2"
