"""S3, as far as a host fetches one object from it: given out only where the request is signed as AWS's Signature Version 4
has it, with the credentials of the instance's role, every header of AWS's among what is signed.

The local cloud's own S3 takes any signature.
"""

import hashlib
import hmac
import http.server
import threading


class S3:
    """Serves `objects`, bytes by `/BUCKET/KEY`, at an address; `refused` tells why requests were not answered."""

    def __init__(self, address, objects, secret_of):
        self.objects, self.secret_of, self.refused, self.given = objects, secret_of, [], 0
        s3 = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                problem = s3.problem(self.path, {name.lower(): value for name, value in self.headers.items()})
                if problem:
                    s3.refused.append(problem)
                    self.send_error(403)
                    return
                body = s3.objects[self.path]
                s3.given += 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(address, Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def problem(self, path, headers):
        if path not in self.objects:
            return f"no object {path}"
        kind, _, rest = headers.get("authorization", "").partition(" ")
        parts = dict(part.strip().split("=", 1) for part in rest.split(",") if "=" in part)
        if kind != "AWS4-HMAC-SHA256" or set(parts) != {"Credential", "SignedHeaders", "Signature"}:
            return f"not signed: {headers}"
        key, day, region, service, end = parts["Credential"].split("/")
        if (region, service, end) != ("us-east-1", "s3", "aws4_request"):
            return f"signed for {region} {service}"
        signed = parts["SignedHeaders"].split(";")
        unsigned = [name for name in headers if name.startswith("x-amz-") and name not in signed]
        if "x-amz-content-sha256" not in signed:
            return "S3 wants x-amz-content-sha256"
        if unsigned or "host" not in signed:
            return f"not among what is signed: {unsigned or 'host'}"
        secret, token = self.secret_of(key)
        if headers.get("x-amz-security-token") != token:
            return "another session's token"
        canonical = "\n".join([
            "GET", path, "", *(f"{name}:{headers[name].strip()}" for name in signed), "", ";".join(signed),
            headers["x-amz-content-sha256"],
        ])
        scope = f"{day}/{region}/{service}/{end}"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, digest])
        mac = f"AWS4{secret}".encode()
        for part in (day, region, service, end, text):
            mac = hmac.new(mac, part.encode(), hashlib.sha256).digest()
        if mac.hex() != parts["Signature"]:
            return f"the signature is wrong for:\n{canonical}"
        return None
