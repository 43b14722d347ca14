{{/* The name of everything that belongs to this release. */}}
{{- define "throng.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* The same for what has no namespace, so that two releases do not share it. */}}
{{- define "throng.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "throng.name" .) -}}
{{- end }}

{{- define "throng.account" -}}
{{- .Values.serviceAccount.name | default (include "throng.name" .) -}}
{{- end }}

{{/* The Lease of its operators; two releases in a namespace must not share it, or one of them does nothing. */}}
{{- define "throng.lease" -}}
{{- printf "%s-operator" (include "throng.name" .) -}}
{{- end }}

{{/* What a selector of the operator's Pods says; it never changes. Pods of pools let in whoever has this name. */}}
{{- define "throng.selector" -}}
app.kubernetes.io/name: throng-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "throng.labels" -}}
{{ include "throng.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* What is not the operator's Pods must not look like them. */}}
{{- define "throng.partLabels" -}}
app.kubernetes.io/part-of: throng
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* The namespaces to watch, as a list in JSON; empty for all. */}}
{{- define "throng.namespaces" -}}
{{- if and .Values.watch.namespaces (ne .Values.watch.scope "Namespaces") }}{{ fail "watch.namespaces is for watch.scope Namespaces; remove one of them" }}{{ end -}}
{{- if eq .Values.watch.scope "Cluster" -}}
[]
{{- else if eq .Values.watch.scope "Namespaces" -}}
{{- if not .Values.watch.namespaces }}{{ fail "watch.scope is Namespaces: name them in watch.namespaces" }}{{ end -}}
{{ .Values.watch.namespaces | uniq | toJson }}
{{- else -}}
{{ list .Release.Namespace | toJson }}
{{- end -}}
{{- end }}

{{/* What the operator does with a ChatroomCluster, and why it may. docs/install.md has a reason for each verb. */}}
{{- define "throng.rules" -}}
- apiGroups: [throng.dev]
  resources: [chatroomclusters]
  verbs: [list, watch, patch]
- apiGroups: [throng.dev]
  resources: [chatroomclusters/status, chatroomoperations/status]
  verbs: [patch]
- apiGroups: [throng.dev]
  resources: [chatroomoperations]
  verbs: [list, watch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [list, watch, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list, watch, create, patch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [list, watch, create, patch]
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
