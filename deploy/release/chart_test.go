package release

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

// least is what has to be set.
const least = `
image: {repository: registry.example.com/akubra}
config: {Backends: ["http://one.example:9000", "http://two.example:9000"]}
`

// The sets of values that have to give objects that fit together.
var valueSets = map[string]string{
	"the least": least,
	"all": `
image: {repository: registry.example.com/akubra, tag: v1, pullPolicy: Always}
imagePullSecrets: [{name: pull}]
config:
  Backends: ["https://one.example", "https://two.example"]
  MaxBodySize: 6442450944
  HedgeBudget: 0.1
  ReadFrom: {"https://one.example": 10}
  Repair: {Concurrency: 8}
  AdminHosts: [akubra.example.com]
credentials: {accessKey: "0123", secretKey: "s3cr\"et"}
shutdownDelaySeconds: 20
shutdownTimeoutSeconds: 120
service: {type: LoadBalancer, port: 80, annotations: {a.example/b: "true"}}
persistence: {size: 10Gi, storageClass: fast}
networkPolicy:
  clients: [{namespaceSelector: {matchLabels: {team: web}}}]
  monitoring: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]
serviceMonitor: {enabled: true, labels: {release: prometheus}, authorization: {credentials: {name: tokens, key: metrics}}}
extraEnv: [{name: GOMEMLIMIT, value: 900MiB}, {name: AKUBRA_METRICSTOKEN, valueFrom: {secretKeyRef: {name: keys, key: metrics}}}]
extraVolumes: [{name: tls, secret: {secretName: tls}}]
extraVolumeMounts: [{name: tls, mountPath: /etc/tls, readOnly: true}]
podAnnotations: {a: b}
podLabels: {c: d}
nodeSelector: {disk: ssd}
tolerations: [{key: s3, operator: Exists, effect: NoSchedule}]
affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: []}}
topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]
priorityClassName: high
`,
	"a secret of one's own":   least + "credentials: {existingSecret: keys}\n",
	"several that are pinned": least + "replicas: 3\nreplicasArePinned: true\nserviceMonitor: {enabled: true}\n",
	"without the rest":        least + "networkPolicy: {enabled: false}\npodDisruptionBudget: {enabled: false}\nresources: null\nrestartOnChange: false\nfullnameOverride: s3\n",
}

// objects are what a chart gives, decoded strictly: a field that Kubernetes does not know is an
// error.
type objects struct {
	sets     []apps.StatefulSet
	services []core.Service
	configs  []core.ConfigMap
	secrets  []core.Secret
	budgets  []policy.PodDisruptionBudget
	policies []networking.NetworkPolicy
	monitors []monitoring.ServiceMonitor
}

func mustLoadChart(t *testing.T) *chart.Chart {
	t.Helper()
	packed := mustFind(t, "akubra-*.tgz")
	c, err := loader.Load(packed)
	must(t, err)
	if want := "akubra-" + c.Metadata.Version + ".tgz"; filepath.Base(packed) != want {
		t.Fatalf("%s is called %s", want, packed)
	}
	return c
}

func render(t *testing.T, c *chart.Chart, values string) (map[string]string, error) {
	t.Helper()
	read, err := chartutil.ReadValues([]byte(values))
	must(t, err)
	all, err := chartutil.ToRenderValues(c, read, chartutil.ReleaseOptions{Name: "store", Namespace: "s3", Revision: 1, IsInstall: true}, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	return engine.Render(c, all)
}

func mustDecode(t *testing.T, files map[string]string) *objects {
	t.Helper()
	o := &objects{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		for doc := range strings.SplitSeq(files[name], "\n---\n") {
			var kind struct{ APIVersion, Kind string }
			must(t, yaml.Unmarshal([]byte(doc), &kind))
			var err error
			switch kind.APIVersion + " " + kind.Kind {
			case " ": // nothing but a comment
			case "apps/v1 StatefulSet":
				o.sets, err = add(o.sets, doc)
			case "v1 Service":
				o.services, err = add(o.services, doc)
			case "v1 ConfigMap":
				o.configs, err = add(o.configs, doc)
			case "v1 Secret":
				o.secrets, err = add(o.secrets, doc)
			case "policy/v1 PodDisruptionBudget":
				o.budgets, err = add(o.budgets, doc)
			case "networking.k8s.io/v1 NetworkPolicy":
				o.policies, err = add(o.policies, doc)
			case "monitoring.coreos.com/v1 ServiceMonitor":
				o.monitors, err = add(o.monitors, doc)
			default:
				err = fmt.Errorf("what is %v", kind)
			}
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, doc)
			}
		}
	}
	return o
}

func add[T any](all []T, doc string) ([]T, error) {
	var one T
	err := yaml.UnmarshalStrict([]byte(doc), &one)
	return append(all, one), err
}

// TestChart renders the packed chart with several sets of values: what comes out are objects of
// Kubernetes that fit together, and a configuration that the proxy accepts.
func TestChart(t *testing.T) {
	c := mustLoadChart(t)
	for name, values := range valueSets {
		t.Run(name, func(t *testing.T) {
			files, err := render(t, c, values)
			must(t, err)
			o := mustDecode(t, files)
			if len(o.sets) != 1 || len(o.configs) != 1 {
				t.Fatalf("%d StatefulSets, %d ConfigMaps", len(o.sets), len(o.configs))
			}
			checkSet(t, o)
			checkReach(t, o)
			checkConfig(t, o)
			if notes := files["akubra/templates/NOTES.txt"]; !strings.Contains(notes, "akubra status") || !strings.Contains(notes, ":") {
				t.Errorf("notes: %s", notes)
			}
		})
	}
}

func checkSet(t *testing.T, o *objects) {
	t.Helper()
	set := o.sets[0]
	pod := set.Spec.Template.Spec
	if len(pod.Containers) != 1 {
		t.Fatalf("%d containers", len(pod.Containers))
	}
	container := pod.Containers[0]
	if got := container.Image; !strings.HasPrefix(got, "registry.example.com/akubra:") || strings.HasSuffix(got, ":") {
		t.Errorf("image %q", got)
	}
	var config struct{ ShutdownDelay, ShutdownTimeout string }
	must(t, yaml.Unmarshal([]byte(o.configs[0].Data["akubra.yaml"]), &config))
	delay, err := time.ParseDuration(config.ShutdownDelay)
	must(t, err)
	timeout, err := time.ParseDuration(config.ShutdownTimeout)
	must(t, err)
	if grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second; grace <= delay+timeout {
		t.Errorf("a pod is killed after %v, but may take %v and %v", grace, delay, timeout)
	}
	// It is out of the Service before it takes no more requests.
	ready := container.ReadinessProbe
	if noticed := time.Duration(ready.PeriodSeconds*ready.FailureThreshold) * time.Second; noticed > delay {
		t.Errorf("a pod that ends is noticed after %v, and closes after %v", noticed, delay)
	}
	ports := map[string]int32{}
	for _, p := range container.Ports {
		ports[p.Name] = p.ContainerPort
	}
	for path, probe := range map[string]*core.Probe{"/ready": ready, "/health": container.LivenessProbe, "": container.StartupProbe} {
		if get := probe.HTTPGet; get == nil || ports[get.Port.StrVal] != 8072 || path != "" && get.Path != path {
			t.Errorf("probe %+v, want %s at the metrics' port", probe, path)
		}
	}
	if s := container.SecurityContext; *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []core.Capability{"ALL"}) {
		t.Errorf("security context %+v", s)
	}
	if s := pod.SecurityContext; !*s.RunAsNonRoot || *s.RunAsUser != 65532 || *s.FSGroup != 65532 || s.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault {
		t.Errorf("pod's security context %+v", s)
	}
	// Each mount has its volume, and DataDir one that outlives the pod.
	volumes := map[string]bool{}
	for _, v := range pod.Volumes {
		volumes[v.Name] = true
		if v.ConfigMap != nil && v.ConfigMap.Name != o.configs[0].Name {
			t.Errorf("the ConfigMap %q is not there", v.ConfigMap.Name)
		}
	}
	kept := map[string]bool{}
	for _, v := range set.Spec.VolumeClaimTemplates {
		volumes[v.Name], kept[v.Name] = true, true
	}
	mounts := map[string]string{}
	for _, m := range container.VolumeMounts {
		if mounts[m.MountPath] = m.Name; !volumes[m.Name] {
			t.Errorf("no volume %q", m.Name)
		}
	}
	if !kept[mounts["/var/lib/akubra"]] || mounts["/etc/akubra"] == "" {
		t.Errorf("mounts %v, of which %v outlive the pod", mounts, kept)
	}
	for _, e := range container.Env {
		if e.ValueFrom == nil {
			continue
		}
		ref := e.ValueFrom.SecretKeyRef
		i := slices.IndexFunc(o.secrets, func(s core.Secret) bool { return s.Name == ref.Name })
		if i < 0 && ref.Name != "keys" || i >= 0 && o.secrets[i].StringData[ref.Key] == "" {
			t.Errorf("%s is not in the Secret %q", e.Name, ref.Name)
		}
	}
}

// checkReach: whatever selects the pods does, by ports that they have; and no Service spreads
// requests over several.
func checkReach(t *testing.T, o *objects) {
	t.Helper()
	set := o.sets[0]
	pod := set.Spec.Template
	selects := func(what string, selector map[string]string) {
		t.Helper()
		if len(selector) == 0 {
			t.Errorf("%s selects everything", what)
		}
		for k, v := range selector {
			if pod.Labels[k] != v {
				t.Errorf("%s does not select the pods: %s is %q, not %q", what, k, pod.Labels[k], v)
			}
		}
	}
	ports := map[string]bool{}
	for _, p := range pod.Spec.Containers[0].Ports {
		ports[p.Name] = true
	}
	selects("the StatefulSet", set.Spec.Selector.MatchLabels)
	headless, spreading := false, 0
	for _, s := range o.services {
		selects("the Service "+s.Name, s.Spec.Selector)
		for _, p := range s.Spec.Ports {
			if !ports[p.TargetPort.StrVal] {
				t.Errorf("the Service %s leads to the port %s", s.Name, p.TargetPort.String())
			}
			if s.Spec.ClusterIP != core.ClusterIPNone && p.TargetPort.StrVal != "s3" {
				t.Errorf("the Service %s has the port %s", s.Name, p.Name)
			}
		}
		if s.Spec.ClusterIP != core.ClusterIPNone {
			spreading++
		} else if s.Name == set.Spec.ServiceName {
			headless = true
		}
	}
	if one := *set.Spec.Replicas == 1; !headless || one != (spreading == 1) {
		t.Errorf("%d replicas: %d Services over all of them, a headless one: %v", *set.Spec.Replicas, spreading, headless)
	}
	for _, b := range o.budgets {
		selects("the budget", b.Spec.Selector.MatchLabels)
		if b.Spec.MaxUnavailable.IntValue() != 1 {
			t.Errorf("budget %+v", b.Spec)
		}
	}
	for _, p := range o.policies {
		selects("the policy", p.Spec.PodSelector.MatchLabels)
		for _, rule := range p.Spec.Ingress {
			if len(rule.Ports) != 1 || !ports[rule.Ports[0].Port.StrVal] {
				t.Errorf("a rule for the ports %+v", rule.Ports)
			} else if rule.Ports[0].Port.StrVal == "metrics" && len(rule.From) == 0 {
				t.Error("everybody may read the metrics")
			}
		}
	}
	for _, m := range o.monitors {
		asked := slices.ContainsFunc(pod.Spec.Containers[0].Env, func(e core.EnvVar) bool { return e.Name == "AKUBRA_METRICSTOKEN" })
		if a := m.Spec.Endpoints[0].Authorization; asked != (a != nil && a.Credentials != nil && a.Credentials.Name != "") {
			t.Errorf("the metrics ask for a token: %v, and the ServiceMonitor has %+v", asked, a)
		}
		found := 0
		for _, s := range o.services {
			matches := true
			for k, v := range m.Spec.Selector.MatchLabels {
				matches = matches && s.Labels[k] == v
			}
			if matches && slices.ContainsFunc(s.Spec.Ports, func(p core.ServicePort) bool { return p.Name == m.Spec.Endpoints[0].Port }) {
				found++
			}
		}
		if found != 1 {
			t.Errorf("the ServiceMonitor finds %d Services, want one, so that nothing counts twice", found)
		}
	}
}

func checkConfig(t *testing.T, o *objects) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "akubra.yaml")
	must(t, os.WriteFile(file, []byte(o.configs[0].Data["akubra.yaml"]), 0o600))
	cmd := exec.Command(mustFind(t, "akubra-*-linux-"+runtime.GOARCH), "check", "-c", file)
	cmd.Env = []string{"AKUBRA_LISTEN=127.0.0.1:0", "AKUBRA_ADMINLISTEN=127.0.0.1:0", "AKUBRA_METRICSLISTEN=127.0.0.1:0"} // these may be taken here
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\n%s", err, out, o.configs[0].Data["akubra.yaml"])
	}
	for _, secret := range o.secrets {
		for _, value := range secret.StringData {
			if strings.Contains(o.configs[0].Data["akubra.yaml"], value) {
				t.Error("a key is in the ConfigMap")
			}
		}
	}
}

// TestChartNotes say how clients connect.
func TestChartNotes(t *testing.T) {
	c := mustLoadChart(t)
	for values, want := range map[string]string{
		least: "Clients: http://store-akubra.s3.svc:8080\n",
		withConfig("TLS: {CertFile: /etc/tls/tls.crt, KeyFile: /etc/tls/tls.key}"):              "Clients: https://store-akubra.s3.svc:8080\n",
		withConfig("TLS: {Backends: {CAFile: /etc/tls/ca.crt}}"):                                "Clients: http://store-akubra.s3.svc:8080\n",
		withConfig("TLS: {CertFile: a, KeyFile: b}") + "replicas: 2\nreplicasArePinned: true\n": "Clients: https://store-akubra-N.store-akubra-headless.s3.svc:8080, where",
	} {
		files, err := render(t, c, values)
		must(t, err)
		if notes := files["akubra/templates/NOTES.txt"]; !strings.Contains(notes, want) {
			t.Errorf("%s: notes say %s, want %q", values, notes, want)
		}
	}
}

// withConfig is the least, with one more key in the proxy's configuration.
func withConfig(key string) string { return strings.Replace(least, `9000"]`, `9000"], `+key, 1) }

// TestChartRefuses what would lose writes or show keys, and what it does not know.
func TestChartRefuses(t *testing.T) {
	c := mustLoadChart(t)
	for values, want := range map[string]string{
		"":                                      "repository",
		least + "replicas: 2\n":                 "replicasArePinned",
		least + "replica: 1\n":                  "replica",
		least + "service: {ports: 1}\n":         "ports",
		least + "credentials: {accessKey: a}\n": "secretKey",
		least + "credentials: {secretKey: a}\n": "accessKey",
		least + "credentials: {existingSecret: s, accessKey: a, secretKey: b}\n":                      "not both",
		least + "credentials: null\n":                                                                 "credentials",
		least + "persistence: {size: 1..5Gi}\n":                                                       "size",
		least + "serviceMonitor: {interval: often}\n":                                                 "interval",
		least + "nameOverride: My_App\n":                                                              "nameOverride",
		least + "podLabels: {app.kubernetes.io/name: x}\n":                                            "podLabels",
		"image: null\nconfig: {Backends: ['http://one.example:9000']}\n":                              "image",
		withConfig("Listen: ':1'"):                                                                    "Listen",
		withConfig("Credentials: {AccessKey: a, SecretKey: b}"):                                       "AccessKey",
		withConfig("BackendCredentials: [{Backend: a, SecretKey: b}]"):                                "SecretKey",
		"image: {repository: a}\nconfig: {Backends: []}\n":                                            "Backends",
		"image: {repository: a}\nconfig: {Backends: ['one.example:9000', 'http://two.example:9000']}": "Backends",
	} {
		if _, err := render(t, c, values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q gives %v, want an error about %q", values, err, want)
		}
	}
}

// TestChartLint is `helm lint`.
func TestChartLint(t *testing.T) {
	dir := t.TempDir()
	must(t, chartutil.ExpandFile(dir, mustFind(t, "akubra-*.tgz")))
	for name, values := range valueSets {
		read, err := chartutil.ReadValues([]byte(values))
		must(t, err)
		for _, m := range lint.AllWithKubeVersion(filepath.Join(dir, "akubra"), read, "s3", nil).Messages {
			if m.Severity >= support.WarningSev {
				t.Errorf("%s: %v", name, m)
			}
		}
	}
}
