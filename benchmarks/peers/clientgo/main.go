// Command clientgo is the yardstick: a shared informer on Deployments, measured as the readers in
// Python are: it obeys the commands that benchmarks/cache/readers/measured.py explains.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// event is a resourceVersion and when it became visible, in nanoseconds of CLOCK_MONOTONIC, which processes share.
type event [2]int64

func main() {
	kubeconfig := flag.String("kubeconfig", "", "the cluster to read")
	transform := flag.Bool("transform", false, "keep only the fields that kdm keeps")
	inJSON := flag.Bool("json", false, "speak JSON, and not Protocol Buffers")
	flag.Parse()
	if err := run(*kubeconfig, *transform, *inJSON); err != nil {
		log.Fatal(err)
	}
}

func run(kubeconfig string, transform, inJSON bool) error {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.ContentType = "application/vnd.kubernetes.protobuf" // the typed clients' default, and their best
	if inJSON {
		config.ContentType = "application/json"
	}
	config.AcceptContentTypes = config.ContentType
	config.DisableCompression = true // on loopback compression costs more than it saves
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	var options []informers.SharedInformerOption
	if transform {
		options = append(options, informers.WithTransform(neededFields))
	}
	factory := informers.NewSharedInformerFactoryWithOptions(clients, 0, options...)
	informer := factory.Apps().V1().Deployments().Informer()

	runtime.GC()
	baselineHeap := heapBytes()
	resetPeak()
	answer(map[string]any{"rss_bytes": status("VmRSS")})

	var mutex sync.Mutex // guards events
	events := make([]event, 0, 1<<16)
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		command, _, _ := strings.Cut(commands.Text(), " ") // how many there are, it finds out itself
		switch command {
		case "start":
			cpu, started := cpuSeconds(), time.Now()
			factory.StartWithContext(ctx)
			<-informer.HasSyncedChecker().Done()
			elapsed, used := time.Since(started).Seconds(), cpuSeconds()-cpu
			answer(map[string]any{
				"sync_s": elapsed, "sync_cpu_s": used, "objects": len(informer.GetStore().ListKeys()),
			})
		case "memory":
			answer(map[string]any{"rss_bytes": status("VmRSS"), "peak_rss_bytes": status("VmHWM")})
		case "follow":
			// Called from one goroutine, after the change is in the store.
			handle, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
				UpdateFunc: func(_, changed any) {
					mutex.Lock()
					defer mutex.Unlock()
					events = append(events, event{version(changed.(*appsv1.Deployment)), now()})
				},
			})
			if err != nil {
				return err
			}
			<-handle.HasSyncedChecker().Done()
			answer(map[string]any{"cpu_s": cpuSeconds()})
		case "events":
			cpu := cpuSeconds()
			mutex.Lock()
			answer(map[string]any{"cpu_s": cpu, "events": events})
			mutex.Unlock()
		case "heap":
			debug.FreeOSMemory() // collects, and returns what is free
			heap := heapBytes()
			answer(map[string]any{"heap_bytes": int64(heap) - int64(baselineHeap), "rss_bytes": status("VmRSS")})
		case "quit":
			cancel()
			factory.Shutdown()
			return nil
		default:
			return fmt.Errorf("unknown command %q", commands.Text())
		}
	}
	return commands.Err()
}

// neededFields drops what kdm does not keep either, before it is stored.
func neededFields(object any) (any, error) {
	full, ok := object.(*appsv1.Deployment)
	if !ok {
		return object, nil
	}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       full.Namespace,
			Name:            full.Name,
			UID:             full.UID,
			ResourceVersion: full.ResourceVersion,
			Generation:      full.Generation,
			Labels:          full.Labels,
		},
		Spec: appsv1.DeploymentSpec{Replicas: full.Spec.Replicas, Paused: full.Spec.Paused},
		Status: appsv1.DeploymentStatus{
			ObservedGeneration: full.Status.ObservedGeneration,
			Replicas:           full.Status.Replicas,
			UpdatedReplicas:    full.Status.UpdatedReplicas,
			ReadyReplicas:      full.Status.ReadyReplicas,
			AvailableReplicas:  full.Status.AvailableReplicas,
		},
	}, nil
}

func version(deployment *appsv1.Deployment) int64 {
	number, err := strconv.ParseInt(deployment.ResourceVersion, 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	return number
}

func answer(values map[string]any) {
	if err := json.NewEncoder(os.Stdout).Encode(values); err != nil {
		log.Fatal(err)
	}
}

func now() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		log.Fatal(err)
	}
	return t.Nano()
}

func cpuSeconds() float64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		log.Fatal(err)
	}
	return float64(t.Nano()) / 1e9
}

func heapBytes() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// resetPeak makes VmHWM the peak from now on: proc(5), clear_refs.
func resetPeak() {
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		log.Fatal(err)
	}
}

// status reads a size from /proc/self/status, in bytes.
func status(field string) int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		log.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^` + field + `:\s+(\d+) kB$`).FindSubmatch(text)
	kibibytes, err := strconv.ParseInt(string(found[1]), 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	return kibibytes * 1024
}
