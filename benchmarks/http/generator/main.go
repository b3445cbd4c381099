// Command generator asks an HTTPS server as fast as it answers, or at a steady rate, and tells what that took.
//
// Each client has one connection of its own, kept or made anew for each request. Requests and answers are written and
// read by hand: the less this program does itself, the less it is the limit of what it measures.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const ticksPerSecond = 100 // of /proc/PID/stat: USER_HZ is 100 wherever Go runs on Linux, see proc(5)

type options struct {
	address, host             string
	method, body, contentType string
	paths                     []string
	clients                   int
	fresh                     bool
	rate                      float64
	warmup, duration          time.Duration
	pid                       int
	timeline                  string
	tls                       *tls.Config
	number, turn, late        atomic.Int64
}

// result is what the program prints. Latencies are in microseconds, times in seconds.
type result struct {
	Requests   int            `json:"requests"`
	Seconds    float64        `json:"seconds"`
	P50        float64        `json:"p50_us"`
	P90        float64        `json:"p90_us"`
	P99        float64        `json:"p99_us"`
	P999       float64        `json:"p999_us"`
	Max        float64        `json:"max_us"`
	Bytes      int64          `json:"bytes"` // of bodies
	Late       int64          `json:"late"`  // requests that no client was free to send when they were due
	ServerCPU  float64        `json:"server_cpu_s"`
	OwnCPU     float64        `json:"own_cpu_s"`
	Errors     map[string]int `json:"errors"`
	Negotiated string         `json:"negotiated"`
}

// timeline is what the file of that name gets: when each request began and how long it took, in seconds since the
// warm-up ended; and every tenth of a second how much processor time the server had used since then.
type timeline struct {
	Requests [][2]float64 `json:"requests"`
	Server   [][2]float64 `json:"server"`
}

func main() {
	o := &options{}
	var certificate, key, ca, paths string
	var warmup, duration float64
	var first int64
	flag.StringVar(&o.address, "address", "", "host:port to connect to")
	flag.StringVar(&certificate, "cert", "", "the client's certificate, PEM")
	flag.StringVar(&key, "key", "", "its private key, PEM")
	flag.StringVar(&ca, "cacert", "", "the server's CA, PEM")
	flag.StringVar(&o.method, "method", "GET", "the request's method")
	flag.StringVar(&paths, "paths", "", "a file with a path in each line; each client begins somewhere in it")
	flag.StringVar(&o.body, "body", "", "the request's body; # stands for a number that is another one each time")
	flag.Int64Var(&first, "first", 1, "the first of these numbers")
	flag.StringVar(&o.contentType, "content-type", "application/json", "the body's media type")
	flag.IntVar(&o.clients, "clients", 1, "how many ask at once")
	flag.BoolVar(&o.fresh, "fresh", false, "a new connection for each request; its latency contains the handshake")
	flag.Float64Var(&o.rate, "rate", 0, "requests a second of all clients together; 0: each asks again when answered")
	flag.Float64Var(&warmup, "warmup", 0.5, "seconds that are not counted")
	flag.Float64Var(&duration, "seconds", 2, "seconds that are; requests that have begun are waited for")
	flag.StringVar(&o.timeline, "timeline", "", "a file for every request and the server's processor time: see timeline")
	flag.IntVar(&o.pid, "pid", 0, "the server's process: its processor time is told")
	flag.Parse()
	o.warmup, o.duration = seconds(warmup), seconds(duration)
	o.number.Store(first)
	if err := o.read(certificate, key, ca, paths); err != nil {
		log.Fatal(err)
	}
	found, err := o.run()
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		log.Fatal(err)
	}
}

func (o *options) read(certificate, key, ca, paths string) error {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return err
	}
	authorities, err := os.ReadFile(ca)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authorities) {
		return fmt.Errorf("%s: no certificate", ca)
	}
	if o.host, _, err = net.SplitHostPort(o.address); err != nil {
		return err
	}
	o.tls = &tls.Config{
		Certificates: []tls.Certificate{pair},
		RootCAs:      pool,
		ServerName:   o.host,
		MinVersion:   tls.VersionTLS13,
		// What every server here can do. With post-quantum key exchange those in Go would do more work than the others.
		CurvePreferences: []tls.CurveID{tls.X25519},
	}
	listed, err := os.ReadFile(paths)
	if err != nil {
		return err
	}
	if o.paths = strings.Fields(string(listed)); len(o.paths) == 0 {
		return fmt.Errorf("%s: no path", paths)
	}
	return nil
}

// run drives the clients and gathers what they saw.
func (o *options) run() (*result, error) {
	clients := make([]*client, o.clients)
	for index := range clients {
		clients[index] = &client{options: o, path: rand.IntN(len(o.paths)), errors: map[string]int{}}
		if !o.fresh {
			if err := clients[index].connect(); err != nil { // all, before the clock starts
				return nil, err
			}
		}
	}
	counted := time.Now().Add(o.warmup)
	var group sync.WaitGroup
	for _, each := range clients {
		group.Go(func() { each.work(counted, counted.Add(o.duration)) })
	}
	time.Sleep(time.Until(counted))
	started, server, own := time.Now(), serverCPU(o.pid), ownCPU()
	told := o.watch(started, server, &group)
	found := &result{
		Seconds:   time.Since(started).Seconds(),
		ServerCPU: serverCPU(o.pid) - server,
		OwnCPU:    ownCPU() - own,
		Errors:    map[string]int{},
		Late:      o.late.Load(),
	}
	var latencies []time.Duration
	for _, each := range clients {
		for _, one := range each.answered {
			latencies = append(latencies, one.took)
			if o.timeline != "" {
				told.Requests = append(told.Requests, [2]float64{one.began.Sub(started).Seconds(), one.took.Seconds()})
			}
		}
		found.Bytes += each.bytes
		found.Negotiated = max(found.Negotiated, each.negotiated)
		for what, times := range each.errors {
			found.Errors[what] += times
		}
	}
	if len(latencies) == 0 {
		return nil, fmt.Errorf("no request succeeded: %v", found.Errors)
	}
	slices.Sort(latencies)
	quantile := func(part float64) float64 {
		return float64(latencies[min(len(latencies)-1, int(part*float64(len(latencies))))].Nanoseconds()) / 1e3
	}
	found.Requests = len(latencies)
	found.P50, found.P90, found.P99 = quantile(0.5), quantile(0.9), quantile(0.99)
	found.P999, found.Max = quantile(0.999), quantile(1)
	if o.timeline == "" {
		return found, nil
	}
	content, err := json.Marshal(told)
	if err != nil {
		return nil, err
	}
	return found, os.WriteFile(o.timeline, content, 0o600)
}

// watch waits until all clients are done, and looks at the server meanwhile where somebody wants to know.
func (o *options) watch(started time.Time, used float64, group *sync.WaitGroup) (told timeline) {
	done := make(chan struct{})
	go func() {
		group.Wait()
		close(done)
	}()
	if o.timeline == "" || o.pid == 0 {
		<-done
		return told
	}
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		told.Server = append(told.Server, [2]float64{time.Since(started).Seconds(), serverCPU(o.pid) - used})
		select {
		case <-done:
			return told
		case <-ticker.C:
		}
	}
}

func seconds(number float64) time.Duration {
	return time.Duration(number * float64(time.Second))
}

// serverCPU returns the processor time that a process has used, in seconds; 0 where none is named.
func serverCPU(pid int) float64 {
	if pid == 0 {
		return 0
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		log.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return float64(user+system) / ticksPerSecond
}

func ownCPU() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}
