"""Mails on a real socket: a small mail server that accepts, refuses and goes away."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator

import pytest
from builders import NOW

from healer.adapters.post import RequestsPost
from healer.errors import Temporary
from healer.model.message import Occasion
from healer.notifiers import sample_notice
from healer.notifiers.email import Email


class Mailbox(socketserver.ThreadingTCPServer):
    """Speaks as much SMTP as a client needs. `says` replaces an answer by the command's verb."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.says: dict[str, str] = {}
        self.mails: list[str] = []


class _Session(socketserver.StreamRequestHandler):
    server: Mailbox

    def handle(self) -> None:
        self._say("220 mail.example.com")
        while line := self.rfile.readline():
            verb = line.split()[0].decode().upper()
            if verb == "QUIT":
                self._say("221 bye")
                return
            usual = "354 go on" if verb == "DATA" else "250 ok"
            answer = self.server.says.get(verb, usual)
            if not answer:
                return
            self._say(answer)
            if answer.startswith("354"):
                self.server.mails.append(self._mail())
                self._say(self.server.says.get("END", "250 queued"))

    def _mail(self) -> str:
        lines = []
        while (line := self.rfile.readline().decode()) != ".\r\n":
            lines.append(line)
        return "".join(lines)

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def send(mailbox: Mailbox) -> tuple[int, str]:
    url = f"smtp://127.0.0.1:{mailbox.server_address[1]}"
    channel = Email(url=url, to=("a@b.example", "c@d.example"), sender="healer@b.example")
    post = RequestsPost(read_timeout_s=60)
    notice = sample_notice(Occasion.OPENED, NOW)
    return post.send(channel.request(channel.render(notice), NOW))


def test_a_mail_is_handed_over(mailbox: Mailbox) -> None:
    assert send(mailbox) == (250, "ok")
    (mail,) = mailbox.mails
    assert "To: a@b.example, c@d.example" in mail


@pytest.mark.parametrize(
    ("verb", "answer"),
    [("MAIL", "451 try later"), ("RCPT", "550 no such box"), ("DATA", "452 full"),
     ("END", "552 too big")],
)  # fmt: skip
def test_the_server_s_own_word_is_brought_back(mailbox: Mailbox, verb: str, answer: str) -> None:
    mailbox.says[verb] = answer
    code, text = send(mailbox)
    assert f"{code} {text}" == answer


def test_a_server_that_hangs_up_is_tried_again_later(mailbox: Mailbox) -> None:
    mailbox.says["DATA"] = ""
    with pytest.raises(Temporary, match="mail to 127"):
        send(mailbox)
