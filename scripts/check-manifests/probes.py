"""Asks as probes of Kubernetes do: at the address of the pod, without TLS."""

import http.client
import time

import grpc

from faults import Fault

# grpc.health.v1: a request is the name of a service as field 1, and field 1 of the answer is 1 for SERVING.
CHECK = "/grpc.health.v1.Health/Check"
SERVING = b"\x08\x01"
# Between two looks. A node looks more seldom, and would see the same.
PAUSE = 0.1


def ask(address, probe):
    """Whether the probe succeeds, and what it was told."""
    try:
        if probe.kind == "http":
            return ask_http(address, probe)
        with grpc.insecure_channel(f"{address}:{probe.port}") as channel:
            return check(channel, probe.asked, probe.timeoutSeconds)
    except (OSError, http.client.HTTPException) as error:
        return False, f"{type(error).__name__}: {error}"


def ask_http(address, probe):
    connection = http.client.HTTPConnection(address, probe.port, timeout=probe.timeoutSeconds)
    try:
        connection.request("GET", probe.asked, headers={"User-Agent": "kube-probe/1.35"})
        answer = connection.getresponse()
        return 200 <= answer.status < 400, f"{answer.status} {answer.read(200)}"
    finally:
        connection.close()


def check(channel, service, seconds):
    name = service.encode()
    request = bytes([0x0A, len(name)]) + name if name else b""
    try:
        answer = channel.unary_unary(CHECK)(request, timeout=seconds)
    except grpc.RpcError as error:
        return False, f"{error.code()}: {error.details()}"
    return answer == SERVING, f"health {answer}"


def await_success(container, address, kind):
    """Waits as long as a node would, and no longer."""
    probe = container.pod.probes[kind]
    give_up = time.monotonic() + probe.initialDelaySeconds + probe.periodSeconds * probe.failureThreshold
    while True:
        container.check_runs()
        succeeds, told = ask(address, probe)
        if succeeds:
            return
        if time.monotonic() > give_up:
            raise Fault(f"{container.pod.title}: the {kind} probe fails: {told}\n{container.log()}")
        time.sleep(PAUSE)


def await_failure(container, address, kind, seconds):
    """Waits until the probe fails as often as a node asks for, one time after the other."""
    probe = container.pod.probes[kind]
    give_up = time.monotonic() + seconds
    failures = 0
    while failures < probe.failureThreshold:
        container.check_runs()
        failures = 0 if ask(address, probe)[0] else failures + 1
        if time.monotonic() > give_up:
            raise Fault(f"{container.pod.title}: the {kind} probe still succeeds after {seconds} s")
        time.sleep(PAUSE)


def demand_success(container, address, kind):
    container.check_runs()
    succeeds, told = ask(address, container.pod.probes[kind])
    if not succeeds:
        raise Fault(f"{container.pod.title}: the {kind} probe fails: {told}")
