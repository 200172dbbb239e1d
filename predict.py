"""python predict.py FILES...: name the emotion of recordings; the same as `ser-gpu predict`."""

import sys

from ser_gpu.predict import main

if __name__ == "__main__":
    sys.exit(main())
