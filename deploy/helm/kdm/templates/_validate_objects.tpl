{{/* What Kubernetes would refuse of an object, after others have been made already. */}}

{{/* Labels and annotations that are the chart's own. */}}
{{- define "kdm.validateLabels" -}}
{{- $selecting := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" -}}
{{- $own := concat $selecting (list "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "helm.sh/chart") -}}
{{- $metrics := .Values.metrics -}}
{{- range $path, $labels := dict "commonLabels" .Values.commonLabels "metrics.serviceMonitor.labels" $metrics.serviceMonitor.labels "metrics.prometheusRule.labels" $metrics.prometheusRule.labels "metrics.dashboards.labels" $metrics.dashboards.labels -}}
  {{- range $key, $_ := $labels -}}
    {{- if has $key $own -}}
      {{- fail (printf "%s: %s is a label of the chart's own, by which the release's objects are found: leave it out" $path $key) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- range $path, $labels := dict "commonLabels" .Values.commonLabels "podLabels" .Values.podLabels -}}
  {{- range $key, $_ := $labels -}}
    {{- if has $key (append $selecting "pod-template-hash") -}}
      {{- fail (printf "%s: %s selects the Pods, and is set by the chart or Kubernetes: leave it out" $path $key) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- if hasKey (.Values.podAnnotations | default dict) "checksum/settings" -}}
  {{- fail "podAnnotations: checksum/settings is the chart's own, by which changed settings replace the Pods: leave it out" -}}
{{- end -}}
{{- end }}

{{/* What cannot change in an upgrade. `helm template` sees no cluster. */}}
{{- define "kdm.validateSelector" -}}
{{- $there := lookup "apps/v1" "Deployment" .Release.Namespace (include "kdm.fullname" .) -}}
{{- if and $there (ne (toJson (dig "spec" "selector" "matchLabels" dict $there)) (include "kdm.selectorLabels" . | fromYaml | toJson)) -}}
  {{- fail (printf "the Deployment %s exists and selects other Pods, which cannot change: leave nameOverride as it was, or set another fullnameOverride" (include "kdm.fullname" .)) -}}
{{- end -}}
{{- end }}

{{/* Names that must be there once in a Pod, and entries that exclude each other. */}}
{{- define "kdm.validatePod" -}}
{{- $volumes := include "kdm.files" . | fromYaml | keys -}}
{{- if .Values.kubeconfig.existingSecret }}{{ $volumes = append $volumes "tmp" }}{{ end -}}
{{- $paths := list -}}
{{- range $volumes }}{{ $paths = append $paths (ternary "/tmp" (printf "/etc/kdm/%s" .) (eq . "tmp")) }}{{ end -}}
{{- range .Values.extraVolumes -}}
  {{- if has .name $volumes -}}
    {{- fail (printf "extraVolumes: there is a volume '%s' already: choose another name" .name) -}}
  {{- end -}}
  {{- $volumes = append $volumes .name -}}
{{- end -}}
{{- range .Values.extraVolumeMounts -}}
  {{- if not (has .name $volumes) -}}
    {{- fail (printf "extraVolumeMounts: there is no volume '%s': add it to extraVolumes" .name) -}}
  {{- end -}}
  {{- if has .mountPath $paths -}}
    {{- fail (printf "extraVolumeMounts: something is mounted at %s already" .mountPath) -}}
  {{- end -}}
  {{- $paths = append $paths .mountPath -}}
{{- end -}}
{{- $containers := list "kdm" -}}
{{- range .Values.extraContainers -}}
  {{- if has .name $containers -}}
    {{- fail (printf "extraContainers: there is a container '%s' already: choose another name" .name) -}}
  {{- end -}}
  {{- $containers = append $containers .name -}}
{{- end -}}
{{- $variables := list -}}
{{- range .Values.extraEnv -}}
  {{- if has .name $variables -}}
    {{- fail (printf "extraEnv: %s is there twice" .name) -}}
  {{- end -}}
  {{- if and (hasKey . "value") (hasKey . "valueFrom") -}}
    {{- fail (printf "extraEnv: %s has value and valueFrom: choose one" .name) -}}
  {{- end -}}
  {{- $variables = append $variables .name -}}
{{- end -}}
{{- $spread := list -}}
{{- range .Values.topologySpreadConstraints -}}
  {{- $one := printf "%s, %s" .topologyKey .whenUnsatisfiable -}}
  {{- if has $one $spread -}}
    {{- fail (printf "topologySpreadConstraints: %s is there twice: Kubernetes takes one constraint for each" $one) -}}
  {{- end -}}
  {{- if and .minDomains (ne .whenUnsatisfiable "DoNotSchedule") -}}
    {{- fail (printf "topologySpreadConstraints: minDomains of %s needs whenUnsatisfiable DoNotSchedule" .topologyKey) -}}
  {{- end -}}
  {{- if and .matchLabelKeys (not .labelSelector) (hasKey . "labelSelector") -}}
    {{- fail (printf "topologySpreadConstraints: matchLabelKeys of %s needs a labelSelector, or none at all for the release's" .topologyKey) -}}
  {{- end -}}
  {{- $spread = append $spread $one -}}
{{- end -}}
{{- range .Values.tolerations -}}
  {{- if and (eq (.operator | default "Equal") "Exists") .value -}}
    {{- fail (printf "tolerations: operator Exists takes no value: leave '%s' out, or use Equal" .value) -}}
  {{- end -}}
  {{- if and (not .key) (ne (.operator | default "Equal") "Exists") -}}
    {{- fail "tolerations: an entry without a key tolerates everything, and says so by operator Exists" -}}
  {{- end -}}
  {{- if and (hasKey . "tolerationSeconds") (ne (.effect | default "") "NoExecute") -}}
    {{- fail "tolerations: tolerationSeconds needs effect NoExecute" -}}
  {{- end -}}
{{- end -}}
{{- $limits := .Values.resources.limits | default dict -}}
{{- range $resource, $request := .Values.resources.requests | default dict -}}
  {{- if and (hasKey $limits $resource) (gt (include "kdm.amount" $request | float64) (include "kdm.amount" (get $limits $resource) | float64)) -}}
    {{- fail (printf "resources: the request of %s, %v, is more than its limit, %v" $resource $request (get $limits $resource)) -}}
  {{- end -}}
{{- end -}}
{{- end }}

{{/* Ranges of ports the wrong way round. */}}
{{- define "kdm.validateEgress" -}}
{{- range .Values.networkPolicy.extraEgress -}}
  {{- range .ports -}}
    {{- if hasKey . "endPort" -}}
      {{- if or (kindIs "string" .port) (lt (int64 .endPort) (int64 .port)) -}}
        {{- fail (printf "networkPolicy.extraEgress: endPort %v needs a port that is a number, and not more than it" .endPort) -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end }}

{{/* A quantity, such as 100m or 1.5Gi, as a number. */}}
{{- define "kdm.amount" -}}
{{- $text := toString . -}}
{{- $number := regexFind "^[0-9.]+([eE][+-]?[0-9]+)?" $text -}}
{{- $factors := dict "" 1.0 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 "Pi" 1125899906842624.0 "Ei" 1152921504606846976.0 -}}
{{- mulf (float64 $number) (get $factors (trimPrefix $number $text)) -}}
{{- end }}

{{/* A duration, such as 1h30m, in milliseconds. */}}
{{- define "kdm.milliseconds" -}}
{{- $sum := 0 -}}
{{- range regexFindAll "[0-9]+(ms|s|m|h)" . -1 -}}
  {{- $number := regexFind "^[0-9]+" . -}}
  {{- $sum = add $sum (mul (int64 $number) (get (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000) (trimPrefix $number .))) -}}
{{- end -}}
{{- $sum -}}
{{- end }}
