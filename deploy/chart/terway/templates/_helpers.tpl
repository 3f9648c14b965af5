{{- define "terway.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "terway.labels" -}}
app.kubernetes.io/name: terway
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
{{- end -}}

{{- /* What the schema cannot say of several values together. */ -}}
{{- define "terway.check" -}}
{{- if ne .Release.Namespace "kube-system" -}}
{{- fail "terway is installed in the namespace kube-system: helm install --namespace kube-system" -}}
{{- end -}}
{{- if gt (int .Values.pool.minSize) (int .Values.pool.maxSize) -}}
{{- fail "pool.minSize is above pool.maxSize: lower it, or raise pool.maxSize" -}}
{{- end -}}
{{- if and .Values.centralizedIPAM (not .Values.controlPlane.enabled) -}}
{{- fail "centralizedIPAM needs the control plane: set controlPlane.enabled to true, or centralizedIPAM to false" -}}
{{- end -}}
{{- if and (eq .Values.mode "exclusive") (ne .Values.datapath "veth") -}}
{{- fail "datapath is for shared ENIs: with mode exclusive leave it at veth" -}}
{{- end -}}
{{- if .Values.controlPlane.enabled -}}
{{- $_ := required "clusterID must be there: a word of yours, by which ENIs are known to be this cluster's" .Values.clusterID -}}
{{- $_ := required "vpcID must be there: the VPC of the cluster" .Values.vpcID -}}
{{- end -}}
{{- end -}}

{{- define "terway.endpoints" -}}
{{- with .Values.endpoints }}
{{- if .ecs }}
- {name: ECS_ENDPOINT, value: {{ .ecs | quote }}}
{{- end }}
{{- if .vpc }}
- {name: VPC_ENDPOINT, value: {{ .vpc | quote }}}
{{- end }}
{{- if .slb }}
- {name: SLB_ENDPOINT, value: {{ .slb | quote }}}
{{- end }}
{{- if .nlb }}
- {name: NLB_ENDPOINT, value: {{ .nlb | quote }}}
{{- end }}
{{- if .metadata }}
- {name: METADATA_ENDPOINT, value: {{ .metadata | quote }}}
{{- end }}
{{- end }}
{{- end -}}

{{- define "terway.hasTrunk" -}}
{{- if and .Values.trunk .Values.centralizedIPAM (eq .Values.mode "shared") }}true{{ end -}}
{{- end -}}

{{- define "terway.eniConf" -}}
{{- $conf := dict
  "version" "1"
  "ipam_type" (ternary "crd" "default" .Values.centralizedIPAM)
  "vswitches" .Values.vSwitches
  "vswitch_selection_policy" .Values.vSwitchSelectionPolicy
  "security_groups" .Values.securityGroupIDs
  "service_cidr" .Values.serviceCIDR
  "ip_stack" .Values.ipStack
  "min_pool_size" (int .Values.pool.minSize)
  "max_pool_size" (int .Values.pool.maxSize)
  "ip_warm_up_size" (int .Values.pool.warmUpSize)
  "enable_eni_trunking" (eq (include "terway.hasTrunk" .) "true")
  "kube_proxy_replacement" .Values.kubeProxyReplacement
-}}
{{- if .Values.regionID }}
{{- $_ := set $conf "region_id" .Values.regionID }}
{{- end }}
{{- range $key, $value := .Values.eniConf }}
{{- $_ := set $conf $key $value }}
{{- end }}
{{- toPrettyJson $conf -}}
{{- end -}}

{{- define "terway.plugin" -}}
{{- $plugin := dict "type" "terway" "capabilities" (dict "bandwidth" true) -}}
{{- if eq .Values.mode "shared" }}
{{- $_ := set $plugin "eniip_virtual_type" .Values.datapath }}
{{- end }}
{{- range $key, $value := .Values.cniConf }}
{{- $_ := set $plugin $key $value }}
{{- end }}
{{- toJson $plugin -}}
{{- end -}}

{{- define "terway.eniConfig" -}}
eni_conf: |
  {{- include "terway.eniConf" . | nindent 2 }}
10-terway.conf: |
  {{- $plugin := include "terway.plugin" . | fromJson }}
  {{- $conf := dict "cniVersion" "1.1.0" "name" "terway" }}
  {{- range $key, $value := $plugin }}
  {{- $_ := set $conf $key $value }}
  {{- end }}
  {{- toPrettyJson $conf | nindent 2 }}
{{- if .Values.chainedPlugins }}
10-terway.conflist: |
  {{- toPrettyJson (dict "cniVersion" "1.0.0" "name" "terway" "plugins" (concat (list $plugin) .Values.chainedPlugins)) | nindent 2 }}
{{- end }}
disable_network_policy: {{ ternary "false" "true" .Values.networkPolicy | quote }}
{{- end -}}

{{- define "terway.ctrlConfig" -}}
{{- $config := dict
  "regionID" .Values.regionID
  "clusterID" .Values.clusterID
  "vpcID" .Values.vpcID
  "ipStack" .Values.ipStack
  "centralizedIPAM" .Values.centralizedIPAM
  "enableTrunk" (eq (include "terway.hasTrunk" .) "true")
  "leaderElection" true
  "controllerNamespace" .Release.Namespace
  "webhookPort" (int .Values.controlPlane.webhookPort)
  "healthzBindAddress" (printf "0.0.0.0:%d" (int .Values.controlPlane.healthPort))
  "metricsBindAddress" (printf "0.0.0.0:%d" (int .Values.controlPlane.metricsPort))
-}}
{{- if .Values.controlPlane.loadBalancers }}
{{- $_ := set $config "controllers" (list "*") }}
{{- end }}
{{- range $key, $value := .Values.controlPlane.config }}
{{- $_ := set $config $key $value }}
{{- end }}
{{- toPrettyJson $config -}}
{{- end -}}
