// Command scrape-configuration writes the configuration that the Prometheus operator gives a Prometheus for ServiceMonitors.
//
// It reads a list of them, as `kubectl get --output=json` writes it, from standard input.
package main

import (
	"encoding/json"
	"log"
	"os"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus-operator/prometheus-operator/pkg/assets"
	"github.com/prometheus-operator/prometheus-operator/pkg/prometheus"
)

func main() {
	var found monitoringv1.ServiceMonitorList
	if err := json.NewDecoder(os.Stdin).Decode(&found); err != nil {
		log.Fatal(err)
	}
	monitors := map[string]*monitoringv1.ServiceMonitor{}
	for i := range found.Items {
		monitor := &found.Items[i]
		monitors[monitor.Namespace+"/"+monitor.Name] = monitor
	}
	role := monitoringv1.EndpointSliceRole
	server := &monitoringv1.Prometheus{
		ObjectMeta: metav1.ObjectMeta{Name: "test", Namespace: os.Args[1]},
		Spec: monitoringv1.PrometheusSpec{
			CommonPrometheusFields: monitoringv1.CommonPrometheusFields{
				ScrapeInterval:       "30s",
				ServiceDiscoveryRole: &role,
			},
			EvaluationInterval: "1s",
		},
	}
	generator, err := prometheus.NewConfigGenerator(nil, server, prometheus.WithEndpointSliceSupport())
	if err != nil {
		log.Fatal(err)
	}
	store := assets.NewTestStoreBuilder()
	written, err := generator.GenerateServerConfiguration(server, monitors, nil, nil, nil, store, nil, nil, nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	os.Stdout.Write(written)
}
