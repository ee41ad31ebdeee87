"""What mkdocs calls: pages written from the source are added, links and equations made to work."""

from pathlib import PurePosixPath
from typing import Any

import borrowed
import configuration
import equations
import troubleshooting

ORIGIN = PurePosixPath("docs")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are written from the source, so that they stay true."""
    from mkdocs.structure.files import File

    written = {
        "configuration.md": configuration.page(),
        "troubleshooting.md": troubleshooting.page(),
        **{name: borrowed.page(name) for name in borrowed.PAGES},
    }
    for name, text in written.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links to files of the repository at their pages, and typeset equations."""
    name = page.file.src_uri
    origin = borrowed.PAGES.get(name, str(ORIGIN / name))
    return equations.typeset(borrowed.relink(markdown, origin, name))
