{{/* Combinations of values that the schema cannot judge. Each is refused with a sentence that says what to do. */}}
{{- define "kdm.validate" -}}
{{- $tls := .Values.tls -}}
{{- $trial := .Values.trial.enabled -}}
{{- $clientCas := list $tls.clientCa.existingSecret $tls.clientCa.existingConfigMap $tls.clientCa.fromServerSecret | compact | len -}}
{{- $crls := list $tls.crl.existingSecret $tls.crl.existingConfigMap | compact | len -}}
{{- $policies := list .Values.policy.toml .Values.policy.existingConfigMap .Values.policy.allowAll | compact | len -}}
{{- $graceLeast := add (int64 .Values.shutdown.preStopSleepSeconds) (ceil .Values.settings.limit_grace_s | int64) -}}
{{- $name := include "kdm.fullname" . -}}
{{- $loadBalancer := or .Values.service.loadBalancerSourceRanges .Values.service.loadBalancerClass -}}

{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
  {{- fail (printf "the objects would be called '%s', but a Service's name begins with a letter and has only lower-case letters, digits and '-': set fullnameOverride" $name) -}}
{{- end -}}
{{- include "kdm.validateLabels" . -}}
{{- include "kdm.validatePod" . -}}
{{- include "kdm.validateEgress" . -}}
{{- include "kdm.validateSelector" . -}}

{{- if $trial -}}
  {{- if or $tls.existingSecret $tls.certManager.enabled $clientCas $crls -}}
    {{- fail "trial.enabled generates the certificates: leave tls.existingSecret, tls.certManager, tls.clientCa and tls.crl as they are, or do without the trial" -}}
  {{- end -}}
  {{- if and (not .Values.policy.toml) (ne .Values.policy.key "policy.toml") (not .Values.policy.existingConfigMap) -}}
    {{- fail "policy.key says where the policy is in policy.existingConfigMap, which is not set" -}}
  {{- end -}}
{{- else -}}
  {{- if not (or $tls.existingSecret $tls.certManager.enabled) -}}
    {{- fail "kdm serves over mutual TLS only and needs a server certificate: set tls.existingSecret or tls.certManager.enabled; to try kdm out, set trial.enabled=true, which generates everything" -}}
  {{- end -}}
  {{- if and $tls.existingSecret $tls.certManager.enabled -}}
    {{- fail "tls.existingSecret and tls.certManager.enabled are both set: the server has one certificate, choose one" -}}
  {{- end -}}
  {{- if not $clientCas -}}
    {{- fail "kdm must know whose client certificates to accept: set one of tls.clientCa.existingSecret, tls.clientCa.existingConfigMap and tls.clientCa.fromServerSecret" -}}
  {{- end -}}
  {{- if not $policies -}}
    {{- fail "everything is denied without a policy, so kdm wants one: set policy.toml or policy.existingConfigMap, or policy.allowAll=true to let every client with a certificate of the client CA do everything" -}}
  {{- end -}}
{{- end -}}
{{- if gt $clientCas 1 -}}
  {{- fail "tls.clientCa has more than one source: choose one of existingSecret, existingConfigMap and fromServerSecret; one file may hold many CAs" -}}
{{- end -}}
{{- if gt $crls 1 -}}
  {{- fail "tls.crl has two sources: choose one of existingSecret and existingConfigMap; one file may hold many lists" -}}
{{- end -}}
{{- if gt $policies 1 -}}
  {{- fail "there is more than one policy: choose one of policy.toml, policy.existingConfigMap and policy.allowAll" -}}
{{- end -}}
{{- if and $tls.certManager.enabled (not (dig "name" "" ($tls.certManager.issuerRef | default dict))) -}}
  {{- fail "tls.certManager.enabled needs tls.certManager.issuerRef.name: whose signature?" -}}
{{- end -}}
{{- if and $tls.certManager.enabled (le (include "kdm.milliseconds" $tls.certManager.duration | float64) (include "kdm.milliseconds" $tls.certManager.renewBefore | float64)) -}}
  {{- fail "tls.certManager.renewBefore must be less than tls.certManager.duration, or the certificate would be renewed without end" -}}
{{- end -}}
{{- if and $tls.extraDnsNames (not $trial) (not $tls.certManager.enabled) -}}
  {{- fail "tls.extraDnsNames is for certificates that the chart makes: the one in tls.existingSecret has the names it has" -}}
{{- end -}}

{{- if and .Values.parking.enabled (eq .Values.settings.repository "memory") -}}
  {{- fail "parking.enabled needs settings.repository=kubernetes: with demo data there is nothing that must outlive a Pod" -}}
{{- end -}}
{{- if and .Values.events.enabled (eq .Values.settings.repository "memory") -}}
  {{- fail "events.enabled needs settings.repository=kubernetes: with demo data there is nothing to announce changes on" -}}
{{- end -}}
{{- if and .Values.events.enabled (not (int64 .Values.settings.history_entries)) -}}
  {{- fail "events.enabled needs a history, which tells kdm what to announce: settings.history_entries must not be 0" -}}
{{- end -}}
{{- $schedules := dict -}}
{{- range .Values.schedules -}}
  {{- if not $.Values.parking.enabled -}}
    {{- fail "schedules need parking.enabled=true: to park and to restore is all they do" -}}
  {{- end -}}
  {{- if and (eq .action "park") (not (or .selector .namespace)) -}}
    {{- fail (printf "schedules: '%s' would park every Deployment there is: set selector, namespace or both" .name) -}}
  {{- end -}}
  {{- if hasKey $schedules .name -}}
    {{- fail (printf "schedules: two are called '%s'" .name) -}}
  {{- end -}}
  {{- $_ := set $schedules .name true -}}
{{- end -}}
{{- if and (eq .Values.settings.repository "memory") (or .Values.kubeconfig.existingSecret .Values.settings.label_selector) -}}
  {{- fail "kubeconfig.existingSecret and settings.label_selector need settings.repository=kubernetes" -}}
{{- end -}}
{{- if and .Values.kubeconfig.context (not .Values.kubeconfig.existingSecret) -}}
  {{- fail "kubeconfig.context needs kubeconfig.existingSecret: a Pod's service account has no contexts" -}}
{{- end -}}
{{- if and .Values.namespaces (ne .Values.settings.namespace "*") (not (has .Values.settings.namespace .Values.namespaces)) -}}
  {{- fail (printf "settings.namespace is '%s', which kdm is not to manage: it must be '*' or one of namespaces" .Values.settings.namespace) -}}
{{- end -}}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) -}}
  {{- fail "serviceAccount.name must say which account to use where serviceAccount.create is false: not the namespace's default one, which others have too" -}}
{{- end -}}
{{- range .Values.extraEnv -}}
  {{- if hasPrefix "KDM_" .name -}}
    {{- fail (printf "extraEnv: %s is a setting of kdm's: give it as settings.%s, or by the value it follows from" .name (.name | trimPrefix "KDM_" | lower)) -}}
  {{- end -}}
{{- end -}}
{{- if regexMatch "^(127\\.|localhost$|::1$)" .Values.settings.ops_host -}}
  {{- fail (printf "settings.ops_host is %s, where the kubelet's probes cannot reach it: the Pods would be restarted without end" .Values.settings.ops_host) -}}
{{- end -}}
{{- if eq (int64 .Values.settings.port) (int64 .Values.settings.ops_port) -}}
  {{- fail "settings.port and settings.ops_port are the same: the API and the plain listener need a port each" -}}
{{- end -}}
{{- if and (not (has .Values.settings.audit_file (list "-" "none" ""))) (not .Values.extraVolumeMounts) -}}
  {{- fail "settings.audit_file is a file, and the container's own files are read-only: mount a volume for it by extraVolumes and extraVolumeMounts" -}}
{{- end -}}

{{- if and (not (kindIs "invalid" .Values.terminationGracePeriodSeconds)) (le (int64 .Values.terminationGracePeriodSeconds) $graceLeast) -}}
  {{- fail (printf "terminationGracePeriodSeconds is %v: it must be more than the %d s that shutdown.preStopSleepSeconds and settings.limit_grace_s take together, or requests would be cut off" .Values.terminationGracePeriodSeconds $graceLeast) -}}
{{- end -}}
{{- if .Values.autoscaling.enabled -}}
  {{- if gt (int64 .Values.autoscaling.minReplicas) (int64 .Values.autoscaling.maxReplicas) -}}
    {{- fail "autoscaling.minReplicas is more than autoscaling.maxReplicas" -}}
  {{- end -}}
  {{- if not (dig "requests" "cpu" "" .Values.resources) -}}
    {{- fail "autoscaling.enabled needs resources.requests.cpu: its target is a share of that" -}}
  {{- end -}}
{{- end -}}
{{- if and .Values.service.nodePort (eq .Values.service.type "ClusterIP") -}}
  {{- fail "service.nodePort needs service.type NodePort or LoadBalancer" -}}
{{- end -}}
{{- if and $loadBalancer (ne .Values.service.type "LoadBalancer") -}}
  {{- fail "service.loadBalancerSourceRanges and service.loadBalancerClass need service.type LoadBalancer" -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled (not .Values.metrics.service.enabled) -}}
  {{- fail "metrics.serviceMonitor.enabled needs metrics.service.enabled: it selects that Service" -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled (lt (include "kdm.milliseconds" .Values.metrics.serviceMonitor.interval | float64) (include "kdm.milliseconds" .Values.metrics.serviceMonitor.scrapeTimeout | float64)) -}}
  {{- fail "metrics.serviceMonitor.scrapeTimeout must not be more than metrics.serviceMonitor.interval: Prometheus refuses that" -}}
{{- end -}}
{{- if and .Values.metrics.prometheusRule.enabled (not (.Files.Glob "alerts/*.yaml")) -}}
  {{- fail "metrics.prometheusRule.enabled: this copy of the chart has no alerts/*.yaml" -}}
{{- end -}}
{{- if and .Values.metrics.dashboards.enabled (not (.Files.Glob "dashboards/*.json")) -}}
  {{- fail "metrics.dashboards.enabled: this copy of the chart has no dashboards/*.json" -}}
{{- end -}}
{{- end }}
