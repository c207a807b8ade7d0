"""A store of each kind: an SQLite file, and a database of a PostgreSQL server that the tests start."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from devicekit.store.open import Store, open_store


def _postgres_bin() -> Path | None:
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = str(places[-1]) if places else shutil.which("initdb")
    return Path(found).parent if found else None


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yields the URL of a PostgreSQL server on 127.0.0.1, without a database's name."""
    programs = _postgres_bin()
    if programs is None:
        words = "PostgreSQL is missing: run tools/setup (as root, on Debian 12)"
        pytest.fail(words) if os.environ.get("CI") else pytest.skip(words)
    folder = tmp_path_factory.mktemp("postgres")
    as_user: list[str] = []
    if os.geteuid() == 0:  # the server refuses to run as root
        as_user = ["runuser", "-u", "postgres", "--"]
        for place in (folder, *folder.parents[:3]):
            if "pytest" in str(place):
                place.chmod(0o755)
        shutil.chown(folder, "postgres")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    data = folder / "data"
    make = [*as_user, str(programs / "initdb"), "-D", str(data), "-U", "kit", "-A", "trust", "--no-sync"]
    subprocess.run(make, check=True, capture_output=True, cwd="/")
    options = ["-h", "127.0.0.1", "-p", str(port), "-k", "", "-F"]
    with (folder / "log").open("w") as log:
        command = [*as_user, str(programs / "postgres"), "-D", str(data), *options]
        process = subprocess.Popen(command, cwd="/", stdout=subprocess.DEVNULL, stderr=log)
    try:
        ready = [str(programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(port), "-q"]
        while subprocess.run(ready).returncode:
            assert process.poll() is None, (folder / "log").read_text()
        yield f"postgresql+psycopg://kit@127.0.0.1:{port}"
    finally:
        for one in psutil.Process(process.pid).children() if as_user else [psutil.Process(process.pid)]:
            one.terminate()
        process.wait(timeout=30)


@pytest.fixture
def database(postgres: str) -> str:
    """Returns the URL of a new, empty database."""
    import psycopg

    name = f"db{os.urandom(6).hex()}"
    with psycopg.connect(f"{postgres.replace('+psycopg', '')}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{postgres}/{name}"


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Returns where a new store is to be: once a file, once a database."""
    if request.param == "sqlite":
        return str(tmp_path / "results.db")
    url: str = request.getfixturevalue("database")
    return url


@pytest.fixture
def store(where: str) -> Iterator[Store]:
    with open_store(where) as store:
        yield store
