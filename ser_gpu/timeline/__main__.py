"""python -m ser_gpu.timeline."""

import sys

from ser_gpu.timeline import main

if __name__ == "__main__":
    sys.exit(main())
