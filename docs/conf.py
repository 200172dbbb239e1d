"""Settings of the documentation site: `make docs`. Its sources are the Markdown pages of the whole repository."""

import ser_gpu

project = "ser_gpu"
author = "the ser_gpu authors"
copyright = f"2025-2026, {author}"
version = release = ser_gpu.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
root_doc = "docs/index"
include_patterns = ["*.md", "*/*.md", "notebooks/*.ipynb"]
exclude_patterns = [".*", "build", "app/node_modules"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}

nb_execution_mode = "off"  # the notebook is shown as it is stored
myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 4  # as GitHub links to headings

autodoc_inherit_docstrings = False  # of torch and argparse
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
default_role = "code"  # docstrings write names between single backticks

html_theme = "furo"
html_title = f"ser_gpu {version}"
html_extra_path = ["site"]  # index.html, which leads to docs/index.html
