"""`python -m kdm_http` is `kdm`."""

import sys

from kdm_http.cli import main

sys.exit(main())
