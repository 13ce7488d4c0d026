"""What others than the chart bring: a Postgres with TLS, certificates, passwords, keys and files."""

import base64
import copy
import os
import pwd
import secrets
import subprocess

from faults import Fault

# Where the database is, for pods: at an address that is not their own, under names that its certificate is for.
ADDRESS = "10.20.0.2"
NAMES = ["postgres.databases.example.com", "postgres.databases.svc"]
ROLES = ["goldbook_owner", "goldbook_service"]


class Authority:
    """A root, and certificates that lead to it."""

    def __init__(self, directory, name):
        self.directory = directory / name
        self.directory.mkdir()
        self.openssl("req", "-x509", *NEW_KEY, "-days", "2", "-subj", f"/CN={name}", "-addext", "keyUsage=keyCertSign",
                     "-keyout", "root.key", "-out", "root.pem")  # fmt: skip
        self.root = (self.directory / "root.pem").read_bytes()

    def openssl(self, *words):
        done = subprocess.run(["openssl", *words], cwd=self.directory, capture_output=True, text=True)
        if done.returncode != 0:
            raise Fault(f"openssl {words}: {done.stderr}")

    def certify(self, name, alternative, usage):
        """The certificate and its key."""
        (self.directory / "extensions").write_text(f"subjectAltName={alternative}\nextendedKeyUsage={usage}\n")
        self.openssl("req", *NEW_KEY, "-subj", f"/CN={name}", "-keyout", "new.key", "-out", "new.csr")
        self.openssl("x509", "-req", "-in", "new.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial",
                     "-days", "1", "-extfile", "extensions", "-out", "new.pem")  # fmt: skip
        return (self.directory / "new.pem").read_bytes(), (self.directory / "new.key").read_bytes()


NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


class Supplies:
    """Secrets and config maps, by kind and name. Those of the rendering itself come first."""

    def __init__(self, directory):
        self.of_database = Authority(directory, "database")
        self.of_listener = Authority(directory, "listener")
        self.of_callers = Authority(directory, "callers")
        self.caller = self.of_callers.certify("checkout", "URI:spiffe://shop/checkout", "clientAuth")
        self.passwords = {role: secrets.token_urlsafe(16) for role in ROLES}
        urls = {role: f"postgres://{role}:{word}@{NAMES[0]}:5432/goldbook" for role, word in self.passwords.items()}
        limits = b"[limits.auditor]\nreads = { per_second = 1, burst = 1 }\n"
        self.objects = {
            ("Secret", "goldbook-erasure"): {"erasure-keys": b"first " + base64.b64encode(secrets.token_bytes(32)) + b"\n"},
            ("Secret", "goldbook-config"): {
                "goldbook.toml": f'database_url = "{urls["goldbook_service"]}"\n'.encode() + limits
            },
            ("ConfigMap", "goldbook-config"): {"goldbook.toml": limits},
            ("Secret", "postgres-roots"): {"ca.crt": self.of_database.root},
            ("ConfigMap", "postgres-roots"): {"ca.crt": self.of_database.root},
            ("ConfigMap", "callers-roots"): {"ca.crt": self.of_callers.root},
            ("Secret", "goldbook-certificate"): self.make_listener(["book-goldbook.shop.svc"]),
            ("Secret", "collector-headers"): {"headers": b"x-tenant=loyalty"},
            ("ConfigMap", "issuer-keys"): {"keys.json": b'{"keys": []}'},
        }
        for role in ROLES:
            name = role.replace("_", "-")
            certificate, key = self.of_database.certify(role, f"DNS:{role.replace('_', '-')}", "clientAuth")
            self.objects |= {
                ("Secret", name): {"password": self.passwords[role].encode()},
                ("Secret", f"{name}-url"): {"url": urls[role].encode()},
                ("Secret", f"{name}-client"): {"tls.crt": certificate, "tls.key": key},
            }

    def make_listener(self, names):
        certificate, key = self.of_listener.certify(names[0], ",".join(f"DNS:{name}" for name in names), "serverAuth")
        return {"tls.crt": certificate, "tls.key": key}

    def beside(self, objects):
        """With what the rendering brings, and what cert-manager makes of it."""
        whole = copy.copy(self)
        whole.objects = dict(self.objects)
        for item in objects:
            if item["kind"] == "ConfigMap":
                content = {name: text.encode() for name, text in item["data"].items()}
                whole.objects["ConfigMap", item["metadata"]["name"]] = content
            elif item["kind"] == "Certificate":
                whole.objects["Secret", item["spec"]["secretName"]] = self.make_listener(item["spec"]["dnsNames"])
        return whole

    def keys(self, where, kind, name):
        if (kind, name) not in self.objects:
            raise Fault(f"{where}: nobody makes the {kind} {name}")
        return self.objects[kind, name].keys()

    def get(self, where, kind, name, key):
        if key not in self.keys(where, kind, name):
            raise Fault(f"{where}: the {kind} {name} has no {key}")
        return self.objects[kind, name][key]


class Postgres:
    """A cluster that lets in nobody without TLS, by password or by certificate."""

    def __init__(self, bin_dir, directory, supplies):
        self.bin_dir = bin_dir
        self.account = database_account()
        self.base = directory / "postgres"
        self.base.mkdir()
        os.chown(self.base, self.account.pw_uid, self.account.pw_gid)
        self.data = self.base / "data"
        self.run("initdb", "-D", self.data, "-U", "postgres", "--encoding=UTF8", "--locale=C", "--no-sync",
                 "--auth-local=trust", "--auth-host=reject", "--no-instructions")  # fmt: skip
        alternative = ",".join(f"DNS:{name}" for name in NAMES)
        certificate, key = supplies.of_database.certify(NAMES[0], alternative, "serverAuth")
        for name, content in {"server.crt": certificate, "server.key": key, "root.crt": supplies.of_database.root}.items():
            file = self.data / name
            file.write_bytes(content)
            os.chown(file, self.account.pw_uid, self.account.pw_gid)
            file.chmod(0o600)
        with open(self.data / "postgresql.conf", "a") as settings:
            settings.write(
                f"listen_addresses = '{ADDRESS}'\nunix_socket_directories = '{self.base}'\nfsync = off\n"
                "ssl = on\nssl_ca_file = 'root.crt'\n"
            )
        self.is_running = False
        self.let_in("scram-sha-256")
        self.start()
        for role, word in supplies.passwords.items():
            self.sql(f"CREATE ROLE {role} LOGIN PASSWORD '{word}'")
        self.stop()

    def run(self, name, *words):
        done = subprocess.run(
            [str(word) for word in (self.bin_dir / name, *words)], capture_output=True, text=True, cwd="/",
            user=self.account.pw_uid, group=self.account.pw_gid, extra_groups=[], timeout=60,
        )  # fmt: skip
        if done.returncode != 0:
            raise Fault(f"{name} ended with {done.returncode}: {done.stdout}{done.stderr}")

    def let_in(self, how):
        (self.data / "pg_hba.conf").write_text(f"local all postgres trust\nhostssl all {','.join(ROLES)} all {how}\n")

    def start(self):
        # Its log is no pipe, which would not end before it does.
        self.run("pg_ctl", "-D", self.data, "-l", self.base / "log", "-w", "-s", "start")
        self.is_running = True

    def stop(self):
        self.run("pg_ctl", "-D", self.data, "-m", "fast", "-w", "-s", "stop")
        self.is_running = False

    def sql(self, statement):
        self.run("psql", "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--host", self.base, "--port", "5432",
                 "--username", "postgres", "--command", statement)  # fmt: skip

    def make_anew(self, how):
        """An empty database, in which who is let in shows a password or a certificate."""
        if self.is_running:
            self.stop()
        self.let_in(how)
        self.start()
        self.sql("DROP DATABASE IF EXISTS goldbook WITH (FORCE)")
        self.sql("CREATE DATABASE goldbook OWNER goldbook_owner")

    def end(self):
        if self.is_running:
            self.run("pg_ctl", "-D", self.data, "-m", "immediate", "-s", "stop")


def database_account():
    for name in ["postgres", "nobody"]:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise Fault("there is neither a user postgres nor a user nobody")
