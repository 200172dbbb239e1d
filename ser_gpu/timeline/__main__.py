from ser_gpu.timeline.command import main

raise SystemExit(main())
