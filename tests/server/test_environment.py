"""Values of variables as people write them: what is taken off, what counts as nothing, and lists of every spelling."""

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlnet_mcp.server.environment import (
    Kind,
    cleaned,
    expanded,
    foreign_character,
    is_placeholder,
    read_values,
    split_amounts,
    split_folders,
    split_names,
    unknown_names,
)

KEY_CHARACTERS = string.ascii_letters + string.digits + "-_"
FOLDER_NAMES = st.text(string.ascii_letters + string.digits + " -_.äé日'", min_size=1, max_size=12).filter(
    lambda name: name == name.strip() and name.strip("'.") == name
)
FOLDERS = st.lists(FOLDER_NAMES.map(lambda name: f"/home/me/{name}"), min_size=1, max_size=4)
HOME = {"HOME": "/home/me", "PICTURES": "/srv/pictures"}


def read(kind: Kind, text: str) -> object:
    """What a variable of a kind says."""
    return read_values({**HOME, "NAME": text}, lambda name: kind if name == "NAME" else None).values.get("NAME")


PLACEHOLDERS = (
    "${user_config.segmind_api_key}",
    "${SEGMIND_API_KEY}",
    "${input:key}",
    "${env:KEY}",
    "$SEGMIND_API_KEY",
    "%SEGMIND_API_KEY%",
    "{{ api_key }}",
    "${{ secrets.KEY }}",
    "<key>",
    "<your api key>",
    "[YOUR KEY]",
    "{API_KEY}",
    "YOUR_API_KEY",
    "your-api-key-here",
    "yourkeyhere",
    "Your Segmind API key",
    "YOUR_SEGMIND_API_KEY",
    "sk-your-key",
    "insert_key_here",
    "paste your key here",
    "REPLACE_ME",
    "replace-with-your-key",
    "changeme",
    "change-me-1",
    "sk-xxxx",
    "sk-xxxxxxxxxxxxxxxxxxxxxxxx",
    "SG_xxxxxxxxxxxxxxxx",
    "XXXX-XXXX-XXXX",
    "sk-...",
    "sk-ab12...9xyz",
    "sk-ab12********",
    "...",
    "***",
    "-",
    "api_key",
    "SEGMIND_API_KEY",
    "TODO",
    "placeholder",
    "dummy",
    "example-key",
    "null",
    "None",
    "undefined",
    "(null)",
    "n/a",
    "op://vault/segmind/key",
)


@pytest.mark.parametrize("text", PLACEHOLDERS)
def test_c3_a_placeholder_is_no_key(text: str) -> None:
    """C3: what a manual, a template or a masked copy has in the place of a key counts as nothing."""
    assert is_placeholder(cleaned(text), "key")
    assert read("key", f' "{text}"\r\n') is None


@pytest.mark.parametrize(
    "key",
    [
        "6a1f0c52-7e3b-4c0e-9a55-0b6d3f1f2a77:2b7c9d1e4f60718293a4b5c6d7e8f901",
        "SG_0123456789abcdef",
        "wsk_live_0123456789abcdef",
        "key-of-the-simulator",
        "sk-secret",
        "api_0hYxxQw3",
        "k",
        "abc==",
        "yourself",
        "a.b/c+d=",
    ],
)
def test_c3_a_key_is_no_placeholder(key: str) -> None:
    """C3: a real key is left alone, whatever words are in it."""
    assert read("key", key) == key


@given(st.text(KEY_CHARACTERS, min_size=24, max_size=80).filter(lambda key: "xxxxxx" not in key.lower()))
def test_c3_no_random_key_is_a_placeholder(key: str) -> None:
    """C3: keys are drawn by chance, and chance does not write manuals."""
    assert is_placeholder(key, "key") == (not key.strip("-_"))


@given(
    st.text(KEY_CHARACTERS, min_size=24, max_size=80).filter(
        lambda key: "xxxxxx" not in key.lower() and key[0] not in "-_"
    )
)
def test_c3_what_is_around_a_key_is_taken_off(key: str) -> None:
    """C3: quotes of every kind, spaces, a carriage return, a comma, an escaped line end."""
    for text in (
        f" {key}\r\n",
        f'"{key}"',
        f"'{key}'\r",
        f"`{key}`",
        f"“{key}”",
        f'"{key}",',
        f'\\"{key}\\"',
        f"{key}\\n",
    ):
        assert read("key", text) == key


@pytest.mark.parametrize(
    ("key", "character"),
    [
        ("abc\u200bdef", "U+200B"),
        ("\ufeffabcdef", "U+FEFF"),
        ("\u0430bcdef", "U+0430"),
        ("abc\u2013def", "U+2013"),
        ("abc def", "U+0020"),
        ("abc\xa0def", "U+00A0"),
        ("abc\ndef", "U+000A"),
        ("abc\x00def", "U+0000"),
        ("sk-abc…xyz", "U+2026"),
        ("abc\udc80", "U+DC80"),
    ],
)
def test_c3_a_character_that_no_key_has_is_named(key: str, character: str) -> None:
    """C3: an invisible or foreign character says "copy it again", and the key counts as not set."""
    assert foreign_character(key) == character
    reading = read_values({"SEGMIND_API_KEY": key}, lambda _name: "key")
    assert reading.values == {}
    (note,) = reading.notes
    assert f"SEGMIND_API_KEY holds {character}: copy it again." in note
    assert key not in note


@pytest.mark.parametrize("kind", ["text", "path", "folders", "key"])
@pytest.mark.parametrize("text", ["${user_config.x}", "${X}", "$X", "%X%", "{{x}}", "<x>", "undefined", '"${x}"'])
def test_c3_a_template_is_nothing_in_every_setting(kind: Kind, text: str) -> None:
    """C3: a setting that nobody filled in is not set, and no folder has its name."""
    assert read(kind, text) is None
    assert read_values({"NAME": text}, lambda _name: kind).notes == (
        "NAME holds a placeholder in the place of a value: it counts as not set.",
    )


@pytest.mark.parametrize("text", ["", " ", '""', "''", '" "', "\r\n"])
@pytest.mark.parametrize("kind", ["text", "path", "folders", "key"])
def test_c3_nothing_is_not_set_and_not_told(kind: Kind, text: str) -> None:
    """C3: hosts write empty strings for every field that was left empty."""
    reading = read_values({"NAME": text}, lambda _name: kind)
    assert (reading.values, reading.notes) == ({}, ())


@pytest.mark.parametrize("text", ["${user_config.dir}/data", "$NOWHERE/data", "<folder>/data"])
def test_c3_a_path_with_a_template_in_it_is_not_set(text: str) -> None:
    """C3: else a folder of that name would be made."""
    assert read("path", text) is None


def test_c3_an_example_is_no_placeholder_elsewhere() -> None:
    """C3: only keys are told by the words of manuals: people call folders so."""
    assert read("folders", "/home/me/example,sample") == ["/home/me/example", "sample"]
    assert read("text", "your-host.example:8000") == "your-host.example:8000"


SPELLINGS = (
    "/home/me/a,/home/me/b",
    "/home/me/a, /home/me/b",
    "/home/me/a:/home/me/b",
    "/home/me/a;/home/me/b",
    "/home/me/a; /home/me/b;",
    "/home/me/a\n/home/me/b",
    "/home/me/a\r\n/home/me/b\r\n",
    '"/home/me/a","/home/me/b"',
    '"/home/me/a:/home/me/b"',
    "'/home/me/a, /home/me/b'",
    "'/home/me/a':'/home/me/b'",
    '["/home/me/a","/home/me/b"]',
    '[ "/home/me/a" , "/home/me/b" ]',
    "['/home/me/a', '/home/me/b']",
    "[/home/me/a, /home/me/b]",
    '"[\\"/home/me/a\\", \\"/home/me/b\\"]"',
    '\'["/home/me/a", "/home/me/b"]\'',
    "$HOME/a:${HOME}/b",
    "~/a,~/b",
    "~/a:~/b",
    "%HOME%/a;%HOME%/b",
    "${env:HOME}/a,$env:HOME/b",
    "file:///home/me/a,file:///home/me/b",
    "file:///home/me/a:file:///home/me/b",
    "file://localhost/home/me/a;file:/home/me/b",
    "file://~/a, FILE:///home/me/%62",
    "`/home/me/a`,“/home/me/b”",
    '"/home/me/a, /home/me/b',
    ",,/home/me/a,,;\n/home/me/b,",
)


@pytest.mark.parametrize("text", SPELLINGS)
def test_a7_every_spelling_of_a_list_of_folders_is_understood(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A7: quotes, separators, JSON, variables, the home folder and `file:` URIs."""
    monkeypatch.setenv("HOME", "/home/me")
    assert read("folders", text) == ["/home/me/a", "/home/me/b"]


@pytest.mark.parametrize(
    ("text", "folders"),
    [
        (r"C:\Users\me\a;D:\b", [r"C:\Users\me\a", r"D:\b"]),
        (r"C:\Users\me\a:D:\b", [r"C:\Users\me\a", r"D:\b"]),
        ("C:/a,d:/b", ["C:/a", "d:/b"]),
        (r'["C:\\a", "D:\\b"]', [r"C:\a", r"D:\b"]),
        (r'["C:\a", "D:\b c"]', [r"C:\a", r"D:\b c"]),
        ("file:///C:/a:file:///d%3A/b", ["C:/a", "d:/b"]),
        (r"\\server\share\a;C:\b", [r"\\server\share\a", r"C:\b"]),
    ],
)
def test_a7_the_letter_of_a_drive_is_no_folder(text: str, folders: list[str]) -> None:
    """A7: a colon after one letter, or after `file`, does not separate."""
    assert [expanded(folder, HOME) for folder in split_folders(text)] == folders


@pytest.mark.parametrize(
    ("text", "folders"),
    [
        ("/data/12:30", ["/data/12:30"]),
        ('"/data/Smith, John"', ["/data/Smith, John"]),
        ('"/data/a,b";/c', ["/data/a,b", "/c"]),
        ("/home/me/it's mine,/b", ["/home/me/it's mine", "/b"]),
        ("/home/me/My\\ Pictures", ["/home/me/My Pictures"]),
        ("/home/me/100%/x", ["/home/me/100%/x"]),
        ("none", []),
        ("[]", []),
        (",", []),
    ],
)
def test_a7_names_of_folders_keep_their_signs(text: str, folders: list[str]) -> None:
    """A7: a colon, a comma in quotes, an apostrophe; `none` allows no folder, and no default takes its place."""
    assert read("folders", text) == folders


@pytest.mark.parametrize("text", ["$PICTURES", "${PICTURES}", "%PICTURES%", " $PICTURES "])
def test_a7_a_variable_that_exists_is_no_placeholder(text: str) -> None:
    """A7: it is what the operator means."""
    assert read("folders", text) == ["/srv/pictures"]


def test_a7_a_template_among_folders_is_left_out_and_told() -> None:
    """A7, C3: the folders beside it count, and only those."""
    reading = read_values({"NAME": "${user_config.dirs},/b"}, lambda _name: "folders")
    assert reading.values == {"NAME": ["/b"]}
    assert reading.notes == ("NAME holds a placeholder in the place of a value: only its other folders count.",)


@given(FOLDERS, st.sampled_from([",", ", ", ";", ":", "\n", " ; ", "\r\n"]), st.sampled_from(["", '"', "'"]))
def test_a7_folders_are_found_again_in_every_list(folders: list[str], separator: str, sign: str) -> None:
    """A7: whatever they are called, wherever quotes protect them."""
    quoted = [f"{sign}{folder}{sign}" if sign not in folder or not sign else folder for folder in folders]
    assert split_folders(separator.join(quoted)) == folders
    assert split_folders(json.dumps(folders)) == folders
    assert split_folders(json.dumps(folders, ensure_ascii=False, indent=1)) == folders


@given(st.text(max_size=200))
def test_a7_no_text_raises_or_means_the_working_directory(text: str) -> None:
    """A7: a part that says nothing is never read as the folder that the server stands in."""
    found = read_values({**HOME, "NAME": text}, lambda name: "folders" if name == "NAME" else None).values.get("NAME")
    assert "" not in (found or [])


@pytest.mark.parametrize(
    "text", ["scenario,fal", "scenario;fal", "scenario fal", "[scenario, fal]", '["scenario","fal"]', "scenario\nfal"]
)
def test_c4_names_may_be_listed_in_every_way(text: str) -> None:
    """C4: commas, semicolons, spaces, lines, JSON."""
    assert split_names(text) == ["scenario", "fal"]


def test_c4_an_address_of_ipv6_is_no_list() -> None:
    """C4: its brackets stay."""
    assert split_names("[::1]:8000, [::1]") == ["[::1]:8000", "[::1]"]
    assert split_names("[::1]") == ["[::1]"]


@pytest.mark.parametrize(
    "text",
    [
        "scenario=20,jobs=3",
        "Scenario = 20; JOBS=3",
        "scenario: 20, jobs: 3",
        '{"scenario": 20, "jobs": 3}',
        "{'scenario': '20', 'jobs': 3}",
    ],
)
def test_c4_amounts_may_be_written_in_every_way(text: str) -> None:
    """C4: case, semicolons, colons, JSON."""
    assert split_amounts(text) == {"scenario": "20", "jobs": "3"}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CONTROLNET_MCP_ALOWED_DIRS", "CONTROLNET_MCP_ALLOWED_DIRS"),
        ("CONTROLNET_MCP_ALLOWED_DIR", "CONTROLNET_MCP_ALLOWED_DIRS"),
        ("CONTROLNET_MCP_ALLOWED-DIRS", "CONTROLNET_MCP_ALLOWED_DIRS"),
        ("CONTROLNET_ALLOWED_DIRS", "CONTROLNET_MCP_ALLOWED_DIRS"),
        ("controlnet_mcp_loglevel", "CONTROLNET_MCP_LOG_LEVEL"),
        ("CONTROLNET_MCP_FAL_KEY", "FAL_KEY"),
    ],
)
def test_c4_a_misspelt_name_is_pointed_out(name: str, meant: str) -> None:
    """C4: with the name that may be meant."""
    known = ["CONTROLNET_MCP_ALLOWED_DIRS", "CONTROLNET_MCP_LOG_LEVEL", "CONTROLNET_MCP_DATA_DIR"]
    (said,) = unknown_names([name], known, "CONTROLNET_MCP_", lambda bare: bare == "FAL_KEY")
    assert said == f"{name} is not read: did you mean {meant}?"


def test_c4_names_of_other_programs_are_no_concern() -> None:
    """C4: only what begins like ours, or nearly."""
    known = ["CONTROLNET_MCP_ALLOWED_DIRS", "CONTROLNET_MCP_DATA_DIR"]
    assert unknown_names(["PATH", "CONTROLNET_PATH", "CONTROLNET_MODEL_DIR", known[0]], known, "CONTROLNET_MCP_") == []
    (said,) = unknown_names(["CONTROLNET_MCP_ZZ"], known, "CONTROLNET_MCP_")
    assert "docs/settings.md" in said


def test_a7_a_home_that_does_not_exist_is_left_as_it_is() -> None:
    """A7: nothing is raised for a user whom nobody knows."""
    assert expanded("~nobody-of-this-name/x", {}) == "~nobody-of-this-name/x"
