"""A token server for OIDC client credentials (RFC 6749, 4.4), in a thread of ours: unsigned tokens, over HTTP or HTTPS."""
import base64
import http.server
import json
import ssl
import threading
import time
import urllib.parse

CLIENT, SECRET = "bailey", "t0ken-client-s3cret/+%"


def unsigned_token(subject, life_seconds):
    def part(data):
        return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()

    now = int(time.time())
    return f"{part({'alg': 'none'})}.{part({'sub': subject, 'iat': now, 'exp': now + life_seconds})}."


class TokenServer:
    """`subject` and `life` are those of the next token; `failure`, (status, body), is answered instead of one.

    requests: what was asked, as dicts."""

    def __init__(self, port, tls=None, subject=CLIENT, life=300):
        self.subject, self.life, self.failure, self.requests, self.secret = subject, life, None, [], SECRET
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                owner.answer(self, {name: values[0] for name, values in body.items()})

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(f"{tls}/server.crt", f"{tls}/server.key")
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://localhost:{port}/token"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def knows(self, handler, body):
        if "client_id" in body:
            return (body["client_id"], body.get("client_secret")) == (CLIENT, self.secret)
        kind, _, pair = handler.headers.get("Authorization", "").partition(" ")
        name, _, secret = base64.b64decode(pair).decode().partition(":")
        return kind == "Basic" and (urllib.parse.unquote_plus(name), urllib.parse.unquote_plus(secret)) == (CLIENT, self.secret)

    def answer(self, handler, body):
        self.requests.append(dict(body, path=handler.path))
        if self.failure:
            status, data = self.failure
        elif not self.knows(handler, body):
            status, data = 401, {"error": "invalid_client", "error_description": "who is this?"}
        else:
            assert body["grant_type"] == "client_credentials", body
            status, data = 200, {"token_type": "Bearer", "expires_in": self.life,
                                 "access_token": unsigned_token(self.subject, self.life)}
        data = json.dumps(data).encode() if isinstance(data, dict) else data
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def close(self):
        self.server.shutdown()
        self.server.server_close()
