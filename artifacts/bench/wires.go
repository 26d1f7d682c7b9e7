package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// Wires is a network of its own for each member: a name space, a virtual Ethernet
// cable to a common switch, and, for a limited uplink, the kernel's token bucket on
// the member's end (tc tbf). All systems are limited in this one way, without their
// knowledge, and what a member sends is what the kernel counts.
type wires struct {
	hub     string
	members []string // name spaces
}

const (
	// headers is what Ethernet, IP and TCP with time stamps add to segment bytes.
	headers, segment = 66, 1448
	// bucketBytes is the token bucket's depth: one offloaded packet and a half.
	bucketBytes = 96 << 10
	// queueMillis is how long a packet may wait in the bucket before it is dropped.
	queueMillis = 50
)

// errNoWires says why there cannot be wires here.
var errNoWires = errors.New("limited links need root, ip and tc (iproute2)")

func canWire() error {
	if os.Geteuid() != 0 {
		return errNoWires
	}
	for _, tool := range []string{"ip", "tc"} {
		if _, err := exec.LookPath(tool); err != nil {
			return errNoWires
		}
	}
	return nil
}

// newWires connects n members whose uplinks carry bytesPerSec of payload; zero is no
// limit. Downlinks have none.
func newWires(n int, bytesPerSec int64) (*wires, error) {
	if err := canWire(); err != nil {
		return nil, err
	}
	w := &wires{hub: fmt.Sprintf("stl%d", os.Getpid())}
	err := run("ip netns add "+w.hub, "ip -n "+w.hub+" link add br0 type bridge", "ip -n "+w.hub+" link set br0 up")
	for i := 0; i < n && err == nil; i++ {
		ns := fmt.Sprintf("%sm%d", w.hub, i)
		w.members = append(w.members, ns)
		err = run(
			"ip netns add "+ns,
			fmt.Sprintf("ip -n %s link add v%d type veth peer name eth0 netns %s", w.hub, i, ns),
			fmt.Sprintf("ip -n %s link set v%d master br0 up", w.hub, i),
			fmt.Sprintf("ip -n %s addr add %s/24 dev eth0", ns, w.addr(i)),
			"ip -n "+ns+" link set lo up", "ip -n "+ns+" link set eth0 up",
		)
		if err == nil && bytesPerSec > 0 {
			bits := 8 * bytesPerSec * (segment + headers) / segment
			err = run(fmt.Sprintf("tc -n %s qdisc add dev eth0 root tbf rate %dbit burst %d latency %dms", ns, bits, bucketBytes, queueMillis))
		}
	}
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *wires) addr(i int) string { return fmt.Sprintf("10.231.0.%d", i+1) }

// prefix is the command that runs a command at member i.
func (w *wires) prefix(i int) []string { return []string{"ip", "netns", "exec", w.members[i]} }

// sent is what member i has put on its wire, headers included.
func (w *wires) sent(i int) (int64, error) {
	out, err := exec.Command("ip", "-n", w.members[i], "-s", "-j", "link", "show", "eth0").Output()
	if err != nil {
		return 0, err
	}
	var links []struct {
		Stats64 struct{ TX struct{ Bytes int64 } }
	}
	if err := json.Unmarshal(out, &links); err != nil || len(links) != 1 {
		return 0, fmt.Errorf("read the counters of %s: %s: %w", w.members[i], out, err)
	}
	return links[0].Stats64.TX.Bytes, nil
}

// close ends what still runs at the members, the payloads of robots say, and removes
// everything.
func (w *wires) close() error {
	var errs []error
	for _, ns := range append(w.members, w.hub) {
		pids, err := exec.Command("ip", "netns", "pids", ns).Output()
		errs = append(errs, err)
		for pid := range strings.FieldsSeq(string(pids)) {
			if n, err := strconv.Atoi(pid); err == nil {
				_ = syscall.Kill(n, syscall.SIGKILL) // it may have ended
			}
		}
		errs = append(errs, run("ip netns del "+ns))
	}
	return errors.Join(errs...)
}

// run runs commands without quoting.
func run(lines ...string) error {
	for _, line := range lines {
		argv := strings.Fields(line)
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %s: %w", line, strings.TrimSpace(string(out)), err)
		}
	}
	return nil
}
