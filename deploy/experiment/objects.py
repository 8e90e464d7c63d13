"""The store of a cluster, by S3: just enough to look at it and to put something into it.

Signatures are AWS's version 4, https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import datetime
import hashlib
import hmac
import http.client
import urllib.parse
import xml.etree.ElementTree

REGION = "garage"
PREFIX = "modiolus-"
TIMEOUT_S = 20
XML = "{http://s3.amazonaws.com/doc/2006-03-01/}"


class Unavailable(Exception):
    """The store gives no answer, or not this one."""


class Objects:
    def __init__(self, address, key, secret):
        """address is a function that gives HOST and port, which may change while the cluster runs."""
        self.address, self.key, self.secret = address, key, secret

    def get(self, bucket, path):
        """The object's bytes, None where there is none."""
        status, body = self._call("GET", bucket, path)
        if status == 404:
            return None
        return _wanted(status, body)

    def put(self, bucket, path, body):
        _wanted(*self._call("PUT", bucket, path, body=body))

    def list(self, bucket, prefix):
        """The paths of all objects that begin so."""
        paths, query = [], {"list-type": "2", "prefix": prefix}
        while True:
            page = xml.etree.ElementTree.fromstring(_wanted(*self._call("GET", bucket, "", query)))
            paths += [entry.findtext(f"{XML}Key") for entry in page.iter(f"{XML}Contents")]
            following = page.findtext(f"{XML}NextContinuationToken")
            if not following:
                return paths
            query["continuation-token"] = following

    def _call(self, method, bucket, path, query=None, body=b""):
        host, port = self.address()
        path = urllib.parse.quote(f"/{PREFIX}{bucket}/{path}")
        pairs = sorted((query or {}).items())
        query = "&".join(f"{name}={urllib.parse.quote(value, safe='')}" for name, value in pairs)
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        try:
            target = f"{path}?{query}" if query else path
            connection.request(method, target, body, self._headers(method, f"{host}:{port}", path, query, body))
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(str(error)) from error
        finally:
            connection.close()

    def _headers(self, method, host, path, query, body):
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        digest = hashlib.sha256(body).hexdigest()
        signed = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": now}
        lines = "".join(f"{name}:{value}\n" for name, value in signed.items())
        request = f"{method}\n{path}\n{query}\n{lines}\n{';'.join(signed)}\n{digest}"
        scope = f"{now[:8]}/{REGION}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = f"AWS4{self.secret}".encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        credential = f"Credential={self.key}/{scope}, SignedHeaders={';'.join(signed)}, Signature={signature}"
        return signed | {"authorization": f"AWS4-HMAC-SHA256 {credential}"}


def _wanted(status, body):
    if status != 200:
        raise Unavailable(f"status {status}")
    return body
