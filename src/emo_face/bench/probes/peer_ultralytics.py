"""The pattern of most ROS 2 packages, as a peer to measure: ``YOLO(...)`` called in the image callback, queue of 10.

Run by ``emo-face bench graph`` in an interpreter that has ultralytics; it imports nothing of this package. Detections
go out as ``std_msgs/Header`` (stamp of the image, number of people as frame_id), cheaper than any real message.
"""

import argparse
import contextlib
import os
import sys
from typing import Any

import numpy as np

sys.path += [p for p in os.environ.get("EMO_FACE_PEER_PATH", "").split(os.pathsep) if p]


def main() -> int:
    """Spin until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--confidence", type=float, default=0.5)
    args = parser.parse_args()

    import rclpy
    from rclpy.node import Node
    from sensor_msgs.msg import Image
    from std_msgs.msg import Header
    from ultralytics import YOLO

    model = YOLO(args.weights, task="detect")

    def detect(frame: Any) -> Any:
        return model(frame, imgsz=args.imgsz, classes=[0], conf=args.confidence, verbose=False)[0].boxes

    detect(np.full((480, 640, 3), 114, np.uint8))

    class Peer(Node):
        def __init__(self) -> None:
            super().__init__("peer")
            self.out = self.create_publisher(Header, "/peer/detections", 10)
            self.create_subscription(Image, "/camera/image_raw", self.on_image, 10)

        def on_image(self, msg: Image) -> None:
            frame = np.frombuffer(msg.data, np.uint8).reshape(msg.height, msg.width, 3)
            people = detect(frame)
            self.out.publish(Header(stamp=msg.header.stamp, frame_id=str(len(people))))

    rclpy.init(args=[])
    with contextlib.suppress(KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
        rclpy.spin(Peer())
    return 0


if __name__ == "__main__":
    sys.exit(main())
