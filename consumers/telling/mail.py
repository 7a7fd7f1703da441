"""Mail: what a notification says, as text and as simple HTML, and handing it to the mail server, or putting it into a folder.

The library's own client, which waits, works in a thread of each mail.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape
from typing import Any
from uuid import UUID

from consumers.telling.outcome import Came, Outcome
from domain.telling import News
from eventstore.config import MailFolder, SmtpConfig

Json = dict[str, Any]

# of each step that the server takes
STEP_SECONDS = 10.0
MAX_SUBJECT_NAME = 120
MAX_SAID = 200

HEADLINES: dict[str, str] = {
    News.COMPLETED: "has completed",
    News.FAILED: "has failed",
    News.INPUT_REQUESTED: "waits for input",
    News.INPUT_REMINDED: "still waits for input",
    News.PAUSED_BY_RULE: "was paused by a rule",
}


def compose(notification_id: UUID, payload: Json, address: str, sender: str, now: datetime) -> EmailMessage:
    """The mail for a payload as `domain.telling.told` makes it. Its Message-ID follows from the notification's id."""
    data = payload["data"]
    name, headline = _line(data["flow_name"]), HEADLINES[payload["type"]]
    short = name if len(name) <= MAX_SUBJECT_NAME else f"{name[: MAX_SUBJECT_NAME - 1]}…"
    mail = EmailMessage(policy=SMTP)
    mail["From"] = sender
    mail["To"] = address
    mail["Subject"] = f"Flow {short} {headline}"
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = f"<{notification_id}.notification@{sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    facts = _facts(payload)
    width = max(len(label) for label, _ in facts) + 1
    text = "\n".join(f"{label + ':':<{width}} {value}" for label, value in facts)
    mail.set_content(f"The flow {name} {headline}.\n\n{text}\n")
    rows = "".join(f"<tr><th align='left'>{escape(label)}</th><td>{_shown(value)}</td></tr>" for label, value in facts)
    mail.add_alternative(
        f"<html><body><p>The flow <b>{escape(name)}</b> {headline}.</p><table>{rows}</table></body></html>\n",
        subtype="html",
    )
    return mail


def _facts(payload: Json) -> list[tuple[str, str]]:
    data = payload["data"]
    error = data.get("error") or {}
    known = {
        "Type": data["flow_type"],
        "Status": data["status"],
        "Phase": data.get("phase"),
        "Failure": error.get("class"),
        "Why": error.get("message") or data.get("reason"),
        "When": payload["timestamp"],
        "Flow": data["flow_id"],
        "Link": data.get("url"),
    }
    return [(label, _line(str(value))) for label, value in known.items() if value]


def _line(text: str) -> str:
    """A text on one line, without control characters: a name must not begin a header of its own."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _shown(value: str) -> str:
    return (
        f'<a href="{escape(value)}">{escape(value)}</a>' if value.startswith(("https://", "http://")) else escape(value)
    )


def send(config: SmtpConfig | MailFolder, mail: EmailMessage) -> Outcome:
    """Hand a mail to the server; waits. A receiver that the server will never take is refused, all else may pass."""
    if isinstance(config, MailFolder):
        return _put(config, mail)
    try:
        with _connected(config) as server:
            server.send_message(mail)
    except smtplib.SMTPRecipientsRefused as refused:
        code, said = next(iter(refused.recipients.values()))
        return _answered(code, said, final=True)
    except smtplib.SMTPDataError as refused:
        return _answered(refused.smtp_code, refused.smtp_error, final=True)
    except smtplib.SMTPResponseException as refused:
        return _answered(refused.smtp_code, refused.smtp_error, final=False)
    except smtplib.SMTPNotSupportedError as error:
        return Outcome(Came.FAILED, None, f"the mail server lacks what it takes: {error}"[:MAX_SAID])
    except (smtplib.SMTPException, OSError) as error:
        return Outcome(Came.FAILED, None, f"the mail server cannot be reached: {type(error).__name__}")
    return Outcome(Came.SENT, 250)


def _put(folder: MailFolder, mail: EmailMessage) -> Outcome:
    """A file of its own for each mail, whole or not at all; one that is sent again replaces itself."""
    name = f"{mail['Message-ID'].strip('<>').partition('.')[0]}.eml"
    try:
        folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = folder.path / f".{name}"
        part.write_bytes(mail.as_bytes())
        part.replace(folder.path / name)
    except OSError as error:
        return Outcome(Came.FAILED, None, f"the mail folder cannot be written to: {type(error).__name__}")
    return Outcome(Came.SENT, None)


def _connected(config: SmtpConfig) -> smtplib.SMTP:
    context = ssl.create_default_context()
    name = socket.gethostname()
    if config.security == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(
            config.host, config.port, local_hostname=name, timeout=STEP_SECONDS, context=context
        )
    else:
        server = smtplib.SMTP(config.host, config.port, local_hostname=name, timeout=STEP_SECONDS)
    try:
        if config.security == "starttls":
            server.starttls(context=context)
        if config.user is not None and config.password is not None:
            server.login(config.user, config.password)
    except BaseException:
        server.close()
        raise
    return server


def _answered(code: int, said: bytes | str, *, final: bool) -> Outcome:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    came = Came.REFUSED if final and code >= 500 else Came.FAILED
    return Outcome(came, code, f"the mail server answered {code}: {_line(text)[:MAX_SAID]}")
