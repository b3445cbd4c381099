// Command go is the service somebody at home in Kubernetes would write instead of kdm: client-go's shared informer, its
// lister, and net/http. It answers the two reads of RFD 156's API with the bytes kdm answers, and knows no policy, no
// audit trail, no metrics and no limits.
package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"syscall"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/apps/v1"
	"k8s.io/client-go/tools/clientcmd"
)

type replicaCount struct {
	Name         string `json:"name"`
	ReplicaCount int32  `json:"replicaCount"`
}

type problem struct {
	Error string `json:"error"`
}

func main() {
	kubeconfig := flag.String("kubeconfig", "", "the cluster")
	certificate := flag.String("cert", "", "the server's certificate, PEM")
	key := flag.String("key", "", "its private key, PEM")
	ca := flag.String("client-ca", "", "the clients' CA, PEM")
	flag.Parse()
	if err := run(*kubeconfig, *certificate, *key, *ca); err != nil {
		log.Fatal(err)
	}
}

func run(kubeconfig, certificate, key, ca string) error {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.ContentType = "application/vnd.kubernetes.protobuf"
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactoryWithOptions(clients, 0, informers.WithTransform(withoutManagedFields))
	deployments := factory.Apps().V1().Deployments()
	lister := deployments.Lister()
	factory.StartWithContext(ctx)
	defer factory.Shutdown()
	defer cancel()

	authorities, err := os.ReadFile(ca)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authorities) {
		return fmt.Errorf("%s: no certificate", ca)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/deployments", func(w http.ResponseWriter, r *http.Request) { list(w, r, lister) })
	mux.HandleFunc("GET /api/v1/deployments/{name}/replicas", func(w http.ResponseWriter, r *http.Request) {
		get(w, r, lister)
	})
	server := &http.Server{Handler: mux, TLSConfig: &tls.Config{
		MinVersion:             tls.VersionTLS13,
		ClientAuth:             tls.RequireAndVerifyClientCert,
		ClientCAs:              pool,
		NextProtos:             []string{"http/1.1"},
		SessionTicketsDisabled: true,
	}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	factory.WaitForCacheSyncWithContext(ctx)
	fmt.Printf("https://%s\n", listener.Addr())
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.ServeTLS(listener, certificate, key); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// withoutManagedFields drops what takes most memory and serves nobody here.
func withoutManagedFields(object any) (any, error) {
	if described, err := meta.Accessor(object); err == nil {
		described.SetManagedFields(nil)
	}
	return object, nil
}

func get(w http.ResponseWriter, r *http.Request, lister listers.DeploymentLister) {
	namespace := r.URL.Query().Get("namespace")
	if namespace == "" {
		answer(w, http.StatusBadRequest, problem{"namespace is missing"})
		return
	}
	deployment, err := lister.Deployments(namespace).Get(r.PathValue("name"))
	switch {
	case apierrors.IsNotFound(err):
		answer(w, http.StatusNotFound, problem{err.Error()})
	case err != nil:
		answer(w, http.StatusInternalServerError, problem{err.Error()})
	default:
		answer(w, http.StatusOK, replicaCountOf(deployment))
	}
}

func list(w http.ResponseWriter, r *http.Request, lister listers.DeploymentLister) {
	found, err := lister.Deployments(r.URL.Query().Get("namespace")).List(labels.Everything()) // "": all of them
	if err != nil {
		answer(w, http.StatusInternalServerError, problem{err.Error()})
		return
	}
	slices.SortFunc(found, func(a, b *appsv1.Deployment) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	counts := make([]replicaCount, len(found))
	for index, deployment := range found {
		counts[index] = replicaCountOf(deployment)
	}
	answer(w, http.StatusOK, counts)
}

func replicaCountOf(deployment *appsv1.Deployment) replicaCount {
	return replicaCount{deployment.Name, *deployment.Spec.Replicas}
}

func answer(w http.ResponseWriter, status int, content any) {
	body, err := json.Marshal(content)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
