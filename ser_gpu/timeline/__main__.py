"""python -m ser_gpu.timeline."""

import sys

from ser_gpu.timeline.command import main

sys.exit(main())
