"""A PostgreSQL with PostGIS of a check's own."""

import atexit
import glob
import os
import shutil
import subprocess
import tempfile


class Cluster:
    """A PostgreSQL of its own, on a Unix socket, as another user than root."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="nightjar-pg-", dir="/tmp")
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        servers = glob.glob("/usr/lib/postgresql/*/bin")
        self.bin = max(servers, key=lambda folder: int(folder.split("/")[4]))
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        self.own("initdb", "-D", f"{self.folder}/data", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8")
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off"
        self.own("pg_ctl", "-D", f"{self.folder}/data", "-l", f"{self.folder}/log", "-o", options, "-w", "start")
        atexit.register(self.own, "pg_ctl", "-D", f"{self.folder}/data", "-m", "immediate", "stop")

    def own(self, command, *arguments):
        line = [f"{self.bin}/{command}", *arguments]
        if os.getuid() == 0:
            line = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *line]
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL, cwd="/")

    def psql(self, *arguments, database="postgres", codes=(0,), input=None):
        line = ["psql", "-X", "-h", self.folder, "-U", "postgres", "-d", database, *arguments]
        # PostGIS notes each coordinate beyond 180 and 90 degrees that a distance meets.
        environment = {**os.environ, "PGOPTIONS": "-c client_min_messages=warning"}
        done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, input=input, env=environment)
        assert done.returncode in codes, (arguments, done.returncode, done.stderr.decode()[:2000])
        return done
