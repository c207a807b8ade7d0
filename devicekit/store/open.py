"""Opening a store: where it is, which schema it has, and what its database's errors mean."""

import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_path
from sqlalchemy import Connection, Engine, create_engine, event, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from devicekit.errors import NewerStore, StoreError, StoreFull
from devicekit.store.schema import HEAD

STORE = "DEVICEKIT_STORE"
DATA_DIR = "DEVICEKIT_DATA_DIR"
BUSY_S = 60
MIGRATIONS = Path(__file__).parent / "migrations"
# Any number, the same in every kit: PostgreSQL's advisory lock around a migration.
_MIGRATING = 0x6465766B


@dataclass(frozen=True)
class Store:
    """An open store. `name` is how messages call it: a path, or a URL without its password."""

    engine: Engine
    name: str

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yields a connection. Raises StoreError where the database fails."""
        with speaking(self.name), self.engine.execution_options(writes=False).connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yields a connection in a transaction: it is kept whole or not at all. Raises StoreError."""
        with speaking(self.name), self.engine.begin() as connection:
            yield connection


def default_store() -> str:
    """Returns $DEVICEKIT_STORE, else results.db in $DEVICEKIT_DATA_DIR or the user's data directory."""
    if named := os.environ.get(STORE):
        return named
    if folder := os.environ.get(DATA_DIR):
        return str(Path(folder) / "results.db")
    return str(user_data_path("devicekit", appauthor=False) / "results.db")


@contextmanager
def open_store(where: str | Path | None = None) -> Iterator[Store]:
    """Yields the store at `where`: a path of an SQLite file, or a URL; None: the default. Made where missing.

    An older one is migrated first. Raises NewerStore, StoreFull, and StoreError for what is no store.
    """
    where = str(where or default_store())
    engine, name = _engine(where)
    try:
        with speaking(name):
            _migrate(engine, name)
        yield Store(engine, name)
    finally:
        engine.dispose()


@contextmanager
def speaking(name: str) -> Iterator[None]:
    """Turns what the database raises in its block into a StoreError that says what to do."""
    try:
        yield
    except DBAPIError as error:
        words = " ".join(str(error.orig).split())
        if (
            "disk is full" in words
            or "No space left" in words
            or getattr(error.orig, "sqlstate", "") == "53100"
        ):
            raise StoreFull(name) from error
        raise StoreError(name, found=words[:300], remedy=_remedy(words)) from error
    except SQLAlchemyError as error:
        raise StoreError(name, found=str(error)[:300], remedy="check --store") from error


def _remedy(words: str) -> str:
    if "not a database" in words or "malformed" in words:
        return "name a file that devicekit made, or a new one: --store FILE.db"
    if "readonly" in words or "unable to open" in words:
        return "name a file that you may write: --store FILE.db, or set DEVICEKIT_DATA_DIR"
    if "locked" in words:
        return "another program holds it: run it again once that has ended"
    return "check that the database answers and that its user may write there"


def _engine(where: str) -> tuple[Engine, str]:
    is_path = "://" not in where
    name = where
    try:
        if is_path:
            path = Path(where)
            path.parent.mkdir(parents=True, exist_ok=True)
            engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_S})
        else:
            url = make_url(where)
            name = url.render_as_string(hide_password=True)
            if url.get_backend_name() not in ("sqlite", "postgresql"):
                raise ValueError(url.get_backend_name())
            engine = create_engine(url, pool_pre_ping=True)
    except OSError as error:
        raise StoreError(
            name,
            found=error.strerror or str(error),
            remedy="name a file in a folder of yours: --store FILE.db",
        ) from error
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise StoreError(
            name,
            found="is no path and no URL of a database",
            remedy="write --store results.db, or --store postgresql+psycopg://user@host/database",
        ) from error
    except ModuleNotFoundError as error:
        raise StoreError(
            name, found=f"{error.name} is not installed", remedy="pip install 'devicekit[postgres]'"
        ) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine, name


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # What was committed survives the process being killed; NORMAL may lose the last commits when power fails.
    connection.isolation_level = None  # transactions begin in _begin_sqlite, not in the driver
    for pragma in ("synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")
    deadline = time.monotonic() + BUSY_S
    while True:  # SQLite's own waiting does not hold for the change of the journal's mode
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE: two writers wait for each other here, instead of failing in the middle of a transaction.
    options = connection.get_execution_options()
    if options.get("isolation_level") != "AUTOCOMMIT":  # VACUUM takes no transaction
        connection.exec_driver_sql(f"BEGIN {'IMMEDIATE' if options.get('writes', True) else 'DEFERRED'}")


def _migrate(engine: Engine, name: str) -> None:
    """Brings the schema up to HEAD, once, whoever else opens it now. Raises NewerStore."""
    with engine.connect() as connection:
        revision = _revision(connection, name)
    if revision == HEAD:
        return
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATING})")
        if _revision(connection, name) != HEAD:
            _upgrade(connection)


def _upgrade(connection: Connection) -> None:
    # A tenth of a second to import, for what a store needs once.
    from alembic import command
    from alembic.config import Config

    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    command.upgrade(config, "head")


def _revision(connection: Connection, name: str) -> str | None:
    """Returns the revision of a store, None for an empty database. Raises NewerStore, StoreError."""
    tables = set(inspect(connection).get_table_names())
    if "alembic_version" not in tables:
        if tables:
            raise StoreError(
                name,
                found=f"is a database of something else (it has a table {min(tables)})",
                remedy="name another: --store FILE.db",
            )
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    known = {path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("*.py")}
    if found is not None and found not in known:
        raise NewerStore(name, revision=str(found)[:40])
    return None if found is None else str(found)
