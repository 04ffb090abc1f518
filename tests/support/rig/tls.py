"""A certificate authority of our own, with certificates for localhost and for a client. Made once, 0.3 s."""
import os
import subprocess


def make_certificates(folder):
    """ca.crt, server.{key,crt,pem}, client.{key,crt}, and stranger.crt, an authority that signed nothing."""
    if os.path.exists(os.path.join(folder, "done")):
        return folder
    os.makedirs(folder, exist_ok=True)

    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    for name in ("ca", "stranger"):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650",
                "-subj", f"/CN=rig {name}", "-keyout", f"{name}.key", "-out", f"{name}.crt")
    for name, common_name, extensions in (
            ("server", "localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth"),
            ("client", "guest", "extendedKeyUsage=clientAuth")):
        with open(os.path.join(folder, f"{name}.ext"), "w") as f:
            f.write(f"basicConstraints=CA:FALSE\n{extensions}\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={common_name}",
                "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days",
                "3650", "-extfile", f"{name}.ext", "-out", f"{name}.crt")
    with open(os.path.join(folder, "server.pem"), "w") as out:  # PKCS#8 key and certificate in one, for Kafka
        for part in ("server.key", "server.crt"):
            with open(os.path.join(folder, part)) as f:
                out.write(f.read())
    open(os.path.join(folder, "done"), "w").close()
    return folder
