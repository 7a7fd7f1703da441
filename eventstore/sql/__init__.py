"""The schema as SQL files, one a room; a file is run once, by its migration."""

from __future__ import annotations

from importlib.resources import files

from alembic import op


def statements(name: str) -> None:
    """Run the file `<name>.sql` on the migration's connection."""
    op.get_bind().exec_driver_sql(files(__name__).joinpath(f"{name}.sql").read_text().replace("%", "%%"))
