"""The box's owner at the page, after the PIN."""

import re
import urllib.error
import urllib.parse
import urllib.request


class Owner:
    def __init__(self, box, pin):
        self.at = f"http://127.0.0.1:{box.page}"
        self.cookie = None
        self.post("/login", pin=pin)
        assert self.cookie, "the PIN was not taken"

    def post(self, path, **form):
        """Sends a form, and returns the page that answers."""
        headers = {"Origin": self.at, "Cookie": self.cookie or ""}
        request = urllib.request.Request(self.at + path, urllib.parse.urlencode(form).encode(), headers)
        try:
            answer = urllib.request.build_opener(Stay).open(request, timeout=120)
        except urllib.error.HTTPError as error:
            answer = error  # the answer to a log-in leads elsewhere
        if cookie := answer.headers.get("Set-Cookie"):
            self.cookie = cookie.split(";")[0]
        return answer.read().decode()

    def press(self, action):
        request = urllib.request.Request(self.at + "/settings", headers={"Cookie": self.cookie})
        page = urllib.request.urlopen(request, timeout=60).read().decode()
        token = re.search(r'name="token" value="([0-9a-f]+)"', page)[1]
        return self.post("/action", token=token, sure="yes", action=action)


class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None
