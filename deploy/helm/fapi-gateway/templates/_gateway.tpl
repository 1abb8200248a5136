{{- define "fapi-gateway.labels" -}}
app.kubernetes.io/name: fapi-gateway
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* By what the pods of this release are found: those of other releases have the first label too. */}}
{{- define "fapi-gateway.selector" -}}
fapi-gateway: enforced
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The first listener and the admin listener of gateway.yaml, as { https: PORT, admin: PORT, scheme: HTTPS or nothing, hosts: [...] }. */}}
{{- define "fapi-gateway.config" -}}
{{- $config := fromYaml .Values.config }}
{{- if hasKey $config "Error" }}{{ fail (printf "config: %s" $config.Error) }}{{ end }}
{{- $listeners := $config.listeners | default list }}
{{- if ne (len $listeners) 1 }}{{ fail "config: the chart has one port, so gateway.yaml needs one entry in `listeners`" }}{{ end }}
{{- $listener := first $listeners }}
{{- $admin := dig "admin" "address" "" $config }}
{{- if not (hasPrefix "0.0.0.0:" $admin) }}
{{- fail "config: probes come from outside the pod, so gateway.yaml needs `admin.address` with 0.0.0.0 and a port" }}
{{- end }}
{{- $hosts := list }}
{{- range $listener.origins }}{{ $hosts = append $hosts (regexReplaceAll ":[0-9]+$" (get (urlParse .) "host") "") }}{{ end }}
https: {{ regexFind "[0-9]+$" $listener.address }}
admin: {{ regexFind "[0-9]+$" $admin }}
scheme: {{ if dig "admin" "tls" "" $config }}HTTPS{{ end }}
hosts: {{ $hosts | uniq | toJson }}
{{- end }}

{{- define "fapi-gateway.annotations" -}}
checksum/config: {{ sha256sum .Values.config }}
{{- if not .Values.monitoring.podMonitor }}
prometheus.io/scrape: "true"
{{- end }}
{{- $ports := include "fapi-gateway.config" . | fromYaml }}
prometheus.io/port: {{ $ports.admin | quote }}
{{- with $ports.scheme }}
prometheus.io/scheme: {{ lower . }}
{{- end }}
prometheus.io/path: /metrics
{{- end }}

{{- define "fapi-gateway.container" -}}
{{- $ports := include "fapi-gateway.config" . | fromYaml }}
name: fapi-gateway
{{- with .Values.image }}
image: {{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
imagePullPolicy: {{ .pullPolicy }}
{{- end }}
{{- if eq .Values.mode "native-sidecar" }}
restartPolicy: Always
{{- end }}
args: ["run", "--config", "/etc/fapi-gateway/gateway.yaml"]
ports:
  - { name: https, containerPort: {{ $ports.https }}, protocol: TCP }
  - { name: admin, containerPort: {{ $ports.admin }}, protocol: TCP }
startupProbe:
  httpGet: { path: /livez, port: admin{{ with $ports.scheme }}, scheme: {{ . }}{{ end }} }
  periodSeconds: 1
  timeoutSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: { path: /livez, port: admin{{ with $ports.scheme }}, scheme: {{ . }}{{ end }} }
  periodSeconds: 10
  timeoutSeconds: 2
  failureThreshold: 3
readinessProbe:
  httpGet: { path: /readyz, port: admin{{ with $ports.scheme }}, scheme: {{ . }}{{ end }} }
  periodSeconds: 2
  timeoutSeconds: 1
  failureThreshold: 2
resources:
{{- if .Values.resources }}
  {{- toYaml .Values.resources | nindent 2 }}
{{- else if eq .Values.mode "standalone" }}
  requests: { cpu: "2", memory: 512Mi }
  limits: { cpu: "2", memory: 512Mi }
{{- else }}
  requests: { cpu: 250m, memory: 512Mi }
  limits: { cpu: "1", memory: 512Mi }
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  allowPrivilegeEscalation: false
  privileged: false
  readOnlyRootFilesystem: true
  capabilities: { drop: ["ALL"] }
  seccompProfile: { type: RuntimeDefault }
volumeMounts:
  - { name: fapi-gateway, mountPath: /etc/fapi-gateway, readOnly: true }
{{- end }}

{{/* One volume, so that the files change together: a certificate is never read with the key of another. */}}
{{- define "fapi-gateway.volume" -}}
name: fapi-gateway
projected:
  defaultMode: 288
  sources:
    - configMap:
        name: {{ .Release.Name }}-config
        items:
          - { key: gateway.yaml, path: gateway.yaml }
    {{- toYaml .Values.sources | nindent 4 }}
{{- end }}
