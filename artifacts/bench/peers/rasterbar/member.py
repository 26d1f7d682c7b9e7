"""A member of a measured swarm that runs libtorrent (python3-libtorrent of the
distribution): TCP only, no DHT, addresses given. The option "super" turns
super-seeding on. Orders and notices are those of package peer."""
import json
import os
import resource
import sys
import threading
import time

import libtorrent as lt

spec = json.loads(sys.argv[1])
lock = threading.Lock()


def tell(at, **more):
    with lock:
        print(json.dumps({"At": at, **more}), flush=True)


def cpu():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_utime + u.ru_stime


def peak_rss():
    with open("/proc/self/status") as f:
        for line in f:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    return 0


def port_of(host):
    """A free port: the session is told one, so that its address is known."""
    import socket
    with socket.socket() as s:
        s.bind((host, 0))
        return s.getsockname()[1]


def open_session():
    host = spec["Listen"].rsplit(":", 1)[0]
    port = port_of(host)
    session = lt.session({
        "listen_interfaces": f"{host}:{port}",
        "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
        "enable_incoming_utp": False, "enable_outgoing_utp": False,
        "allow_multiple_connections_per_ip": True, "alert_mask": 0,
    })
    p = lt.add_torrent_params()
    p.ti = lt.torrent_info(spec["Meta"] + ".torrent")
    p.save_path = os.path.dirname(spec["Source"]) if spec["Seed"] else spec["Dir"]
    p.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    if spec["Seed"]:
        p.flags |= lt.torrent_flags.seed_mode
        if (spec["Options"] or {}).get("super"):
            p.flags |= lt.torrent_flags.super_seeding
    handle = session.add_torrent(p)
    return session, handle, f"{host}:{port}"


def fetch(handle):
    """Says done when every piece is verified and the files are finished."""
    while not handle.status().is_seeding:
        time.sleep(0.01)
    tell("done")


def main():
    session, handle, addr = open_session()
    tell("open", Addr=addr)
    others, started = [], 0.0
    for line in sys.stdin:
        order = json.loads(line)
        if order["Do"] == "connect":
            others = order["Peers"]
            tell("ready")
        elif order["Do"] == "go":
            started = cpu()
            for o in others:
                host, port = o["Addr"].rsplit(":", 1)
                handle.connect_peer((host, int(port)))
            if not spec["Seed"]:
                threading.Thread(target=fetch, args=(handle,), daemon=True).start()
        elif order["Do"] == "stats":
            s = handle.status()
            tell("stats", Stats={
                "SentBytes": s.total_payload_upload, "ReceivedBytes": s.total_payload_download,
                "CPUSeconds": cpu() - started, "PeakRSSBytes": peak_rss()})
        elif order["Do"] == "leave":
            break
    session.pause()
    os._exit(0)  # the session's own end waits for trackers that are not there


main()
