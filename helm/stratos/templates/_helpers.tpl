{{/*
Names and labels, and the parts that every pod shares. Security settings stand
here and not in the values: no value can weaken them.
*/}}

{{- define "stratos.name" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels by which services, policies and sets find pods: (list $ "role"). */}}
{{- define "stratos.selector" -}}
{{- $ := index . 0 -}}
app.kubernetes.io/name: stratos
app.kubernetes.io/instance: {{ $.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "stratos.labels" -}}
{{- $ := index . 0 -}}
{{ include "stratos.selector" . }}
app.kubernetes.io/version: {{ $.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $.Chart.Name $.Chart.Version }}
{{- end -}}

{{- define "stratos.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* Where the ledger is, for gateway and nodes. */}}
{{- define "stratos.ledgerAddr" -}}
{{- if .Values.cluster.ledger.clusterIP -}}
{{ .Values.cluster.ledger.clusterIP }}:4400
{{- else -}}
{{ include "stratos.name" . }}-ledger.{{ .Release.Namespace }}.svc.{{ .Values.cluster.dnsDomain }}:4400
{{- end -}}
{{- end -}}

{{/* The scheme must fit the number of nodes: (list $ nodes "value that sets it"). */}}
{{- define "stratos.checkNodes" -}}
{{- $ := index . 0 -}}
{{- $parts := splitList "+" $.Values.scheme -}}
{{- $total := add (index $parts 0 | int) (index $parts 1 | int) -}}
{{- if lt (index . 1 | int) ($total | int) -}}
{{- fail (printf "%s is %d, but scheme %s puts %d shards on as many different nodes: raise it, or choose a smaller scheme." (index . 2) (index . 1 | int) $.Values.scheme $total) -}}
{{- end -}}
{{- end -}}

{{/* What mode "cluster" cannot do without. Rendered first, so that these messages come before any other. */}}
{{- define "stratos.checkCluster" -}}
{{- $_ := required "cluster.ledgerId is required in mode cluster: make the ledger's key with `stratos ledger -c FILE --print-id` and set the id that it prints (README.md of the chart, step 1)." .Values.cluster.ledgerId -}}
{{- $_ := required "cluster.gatewayId is required in mode cluster: make the gateway's key with `stratos gateway -c FILE --print-id` and set the id that it prints (README.md of the chart, step 1)." .Values.cluster.gatewayId -}}
{{- $_ := required "cluster.keySecret is required in mode cluster: name your Secret with the files ledger.key and gateway.key (README.md of the chart, step 2)." .Values.cluster.keySecret -}}
{{- $_ := required "cluster.inviteSecret is required in mode cluster: name your Secret with one invite for each node pod; it may be made after the install (README.md of the chart, step 4)." .Values.cluster.inviteSecret -}}
{{- include "stratos.checkNodes" (list . .Values.cluster.node.replicas "cluster.node.replicas") -}}
{{- $parts := splitList "+" .Values.scheme -}}
{{- $data := index $parts 0 | int -}}
{{- $total := add $data (index $parts 1 | int) | int -}}
{{- $quorum := .Values.cluster.gateway.writeQuorum | int -}}
{{- if or (le $quorum $data) (gt $quorum $total) -}}
{{- fail (printf "cluster.gateway.writeQuorum is %d, but with scheme %s it must be from %d to %d." $quorum .Values.scheme (add $data 1 | int) $total) -}}
{{- end -}}
{{- end -}}

{{/* Restricted Pod Security Standard, and no token of the Kubernetes API. */}}
{{- define "stratos.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  # Only when the volume is new: later it would make private files group-readable.
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- define "stratos.containerSecurity" -}}
image: {{ include "stratos.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  runAsNonRoot: true
  allowPrivilegeEscalation: false
  privileged: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{/*
The three probes, on the named HTTP port: (list "port" "HTTP or HTTPS").
Live: the process works. Ready: it can serve.
*/}}
{{- define "stratos.probes" -}}
{{- $get := printf "port: %s, scheme: %s" (index . 0) (index . 1) -}}
startupProbe:
  httpGet: {path: /health/live, {{ $get }}}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 90
livenessProbe:
  httpGet: {path: /health/live, {{ $get }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /health/ready, {{ $get }}}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
{{- end -}}

{{/* What the S3 port speaks. */}}
{{- define "stratos.s3Scheme" -}}
{{- ternary "HTTPS" "HTTP" (ne .Values.tls.secretName "") -}}
{{- end -}}

{{/*
Certificate and key as cert.pem and key.pem. The whole folder is mounted: single
files would not follow a renewal.
*/}}
{{- define "stratos.tlsVolume" -}}
- name: tls
  secret:
    secretName: {{ .Values.tls.secretName }}
    defaultMode: 0400
    items: [{key: tls.crt, path: cert.pem}, {key: tls.key, path: key.pem}]
{{- end -}}

{{/* The pod is taken out of the service first; only then it is told to stop. */}}
{{- define "stratos.drain" -}}
lifecycle:
  preStop:
    sleep: {seconds: 5}
{{- end -}}

{{/* A folder inside the volume: the root of an ext4 volume has a lost+found in it. */}}
{{- define "stratos.dataMounts" -}}
- name: data
  mountPath: /data
  subPath: stratos
- name: tmp
  mountPath: /tmp
{{- end -}}

{{- define "stratos.tmpVolume" -}}
- name: tmp
  emptyDir: {sizeLimit: 256Mi}
{{- end -}}

{{/* The volume of a role: (list $ persistence "role"). */}}
{{- define "stratos.dataClaim" -}}
{{- $p := index . 1 -}}
persistentVolumeClaimRetentionPolicy:
  whenDeleted: Retain
  whenScaled: Retain
volumeClaimTemplates:
  - metadata:
      name: data
      labels:
        {{- include "stratos.selector" (list (index . 0) (index . 2)) | nindent 8 }}
    spec:
      accessModes: [ReadWriteOnce]
      {{- with $p.storageClass }}
      storageClassName: {{ . }}
      {{- end }}
      resources:
        requests:
          storage: {{ $p.size }}
{{- end -}}

{{/*
Labels and annotations of a pod: (list $ role-values "role" "hash of its configuration").
The chart's version is not among them: a new chart alone restarts nothing.
*/}}
{{- define "stratos.podMetadata" -}}
{{- $ := index . 0 -}}
{{- $v := index . 1 -}}
{{- $annotations := dict -}}
{{- with index . 3 -}}
{{- /* A changed configuration restarts the pods. */ -}}
{{- $_ := set $annotations "stratos/config-sha256" . -}}
{{- end -}}
labels:
  {{- include "stratos.selector" (list $ (index . 2)) | nindent 2 }}
  {{- with $v.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge $annotations $v.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Where a pod may run, and how long it may take to stop: (list $ role-values). */}}
{{- define "stratos.scheduling" -}}
{{- $ := index . 0 -}}
{{- $v := index . 1 -}}
terminationGracePeriodSeconds: {{ $v.terminationGracePeriodSeconds | int }}
{{- with $.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $v.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $v.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
