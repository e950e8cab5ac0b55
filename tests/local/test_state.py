from __future__ import annotations

import fcntl
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import config
from local.state import State, dotenv_text
from pipeline.errors import ServiceError
from tests.conftest import until
from tests.local.helpers import is_running, kill, python, said

HOLDER = """
import json, subprocess, sys
from pathlib import Path
from local.state import State
state = State.acquire(Path(sys.argv[1]))
state.publish({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092"})
# A child that inherits what can be inherited.
child = subprocess.Popen(["sleep", "60"], start_new_session=True, close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
print(json.dumps(child.pid), flush=True)
sys.stdin.read()
"""

AWKWARD = {
    "QUOTES": """it's "quoted" """,
    "DOLLAR": "pa$$word ${HOME} $(id) `id`",
    "HASH": "a #b#c",
    "BACKSLASH": "\\n\\\\ and a last one \\",
    "ALL": "'\"\\'\\\" # $X \\",
    "SPACES": "  both ends  ",
    "LINES": "one\ntwo",
    "FOREIGN": "Zürich 東京",
    "PLAIN": "127.0.0.1:9092",
}


def test_a_second_holder_is_refused_with_the_process_id_of_the_first(tmp_path: Path) -> None:
    with python(HOLDER, str(tmp_path)) as holder:
        child = said(holder)
        try:
            with pytest.raises(ServiceError, match=f"process {holder.pid} "):
                State.acquire(tmp_path)
        finally:
            kill(child)


def test_a_killed_holder_frees_the_folder_even_if_its_children_live_on(tmp_path: Path) -> None:
    with python(HOLDER, str(tmp_path)) as holder:
        child = said(holder)
        try:
            assert config.embedded_services(tmp_path) == {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092"}
            holder.kill()
            holder.wait()
            assert is_running(child)
            assert (tmp_path / "services.env").exists()
            assert config.embedded_services(tmp_path) == {}
            state = State.acquire(tmp_path)
            assert not (tmp_path / "services.env").exists()
            state.release()
        finally:
            kill(child)


def test_a_process_that_only_looks_is_waited_for(tmp_path: Path) -> None:
    State.acquire(tmp_path).release()
    with open(tmp_path / "lock") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        timer = threading.Timer(0.3, fcntl.flock, (looking, fcntl.LOCK_UN))
        timer.start()
        State.acquire(tmp_path).release()
        timer.join()


def test_other_users_cannot_read_the_folder_and_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "state"
    state = State.acquire(folder)
    state.publish({"DB_PASSWORD": "secret"})
    modes = {path.name: path.stat().st_mode & 0o777 for path in [folder, *folder.iterdir()]}
    assert modes == {"state": 0o700, "lock": 0o600, "services.env": 0o600}
    state.release()


def test_settings_are_valid_from_publish_to_withdraw(tmp_path: Path) -> None:
    state = State.acquire(tmp_path)
    assert config.embedded_services(tmp_path) == {}
    state.publish({"A": "1"})
    state.publish(AWKWARD)
    assert config.embedded_services(tmp_path) == AWKWARD
    state.withdraw()
    assert config.embedded_services(tmp_path) == {}
    state.publish({"A": "1"})
    state.release()
    state.release()
    assert config.embedded_services(tmp_path) == {}
    assert not (tmp_path / "services.env").exists()


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1), min_size=1, max_size=3))
def test_any_values_read_back_exactly(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    values = {f"KEY_{number}": text for number, text in enumerate(texts)}
    folder = tmp_path_factory.getbasetemp() / "any-values"
    state = State.acquire(folder)
    try:
        state.publish(values)
        assert config.embedded_services(folder) == values
    finally:
        state.release()


def test_values_that_would_not_read_back_are_refused() -> None:
    with pytest.raises(ValueError, match="KEY"):
        dotenv_text({"KEY": "one\rtwo"})


def test_a_shell_can_read_values_that_need_no_quotes() -> None:
    text = dotenv_text({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092", "YAHOO_BASE_URL": "http://127.0.0.1:8099"})
    shell = subprocess.run(["sh", "-c", f"{text} echo $KAFKA_BOOTSTRAP_SERVERS $YAHOO_BASE_URL"], capture_output=True, text=True)
    assert shell.stdout == "127.0.0.1:9092 http://127.0.0.1:8099\n"


def test_a_lock_with_an_unreadable_pid_still_refuses(tmp_path: Path) -> None:
    with python(HOLDER, str(tmp_path)) as holder:
        child = said(holder)
        try:
            (tmp_path / "lock").write_text("")
            with pytest.raises(ServiceError, match="another process"):
                State.acquire(tmp_path)
        finally:
            kill(child)
    until(lambda: not is_running(child))


def test_a_folder_that_cannot_be_created_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ServiceError, match=r"^state can't be kept in \S+ \(Not a directory\): set PIPELINE_HOME to a folder [^\n]*$"):
        State.acquire(tmp_path / "file" / "live")
    (tmp_path / "live" / "services.env").mkdir(parents=True)
    with pytest.raises(ServiceError, match=r"^state can't be kept in \S+ \(Is a directory: \S+\): set PIPELINE_HOME to [^\n]*$"):
        State.acquire(tmp_path / "live")


@pytest.mark.parametrize("content", [b"\xff\xfe\0", None])
def test_unreadable_settings_of_services_are_one_line(tmp_path: Path, content: bytes | None) -> None:
    state = State.acquire(tmp_path)
    if content is None:
        state.services_file.mkdir()
    else:
        state.services_file.write_bytes(content)
    with pytest.raises(config.SettingsError, match=r"^\S+, the state of running services, can't be read \([^\n]*\): stop run_pipeline"):
        config.embedded_services(tmp_path)
    if content is None:
        state.services_file.rmdir()
    state.release()
