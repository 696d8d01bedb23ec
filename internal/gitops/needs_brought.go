package gitops

import (
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// makers know which Secrets are made without anybody's doing.
type makers struct {
	synced []entry
	// names are "NAMESPACE/NAME"; patterns are those that a policy makes as claims come.
	names    map[string]bool
	patterns []*regexp.Regexp
	// sources are what policies copy from: a policy that makes a Secret of the same name everywhere does not make those.
	sources map[string]bool
}

// makersOf collects them from what Argo CD brings. A Secret in a folder that no Application syncs is made by nobody.
func makersOf(synced []entry) *makers {
	m := &makers{synced: synced, names: map[string]bool{}, sources: map[string]bool{}}
	for i := range synced {
		e := &synced[i]
		switch object := &e.object; {
		case object.GetKind() == "Secret" && object.GetAPIVersion() == "v1":
			m.names[object.GetNamespace()+"/"+object.GetName()] = true
			if e.plainName != "" {
				m.names[object.GetNamespace()+"/"+e.plainName] = true
			}
		case isKind(object, "cert-manager.io", "Certificate"):
			name, _, _ := unstructured.NestedString(object.Object, "spec", "secretName")
			m.names[object.GetNamespace()+"/"+name] = true
		case isKind(object, "postgresql.cnpg.io", "Cluster"):
			m.addCluster(object)
		case object.GroupVersionKind().Group == "kyverno.io", object.GroupVersionKind().Group == "policies.kyverno.io":
			m.addPolicy(object)
			for _, source := range policyReferences(object) {
				m.sources[source.namespace+"/"+source.name] = true
			}
		case object.GetKind() == "ClusterExternalSecret":
			name, _, _ := unstructured.NestedString(object.Object, "spec", "externalSecretName")
			m.patterns = append(m.patterns, regexp.MustCompile("^[^/]+/"+regexp.QuoteMeta(firstOf(name, object.GetName()))+"$"))
		}
	}
	return m
}

// addCluster adds what CloudNativePG makes for a Cluster, where the Cluster names nothing instead.
// Source: cloudnative-pg internal/controller/cluster_create.go, api/v1/cluster_funcs.go.
func (m *makers) addCluster(object *unstructured.Unstructured) {
	has := func(path ...string) bool {
		name, _, _ := unstructured.NestedString(object.Object, append([]string{"spec"}, path...)...)
		return name != ""
	}
	suffixes := []string{"-ca", "-server", "-replication"}
	if !has("superuserSecret", "name") {
		suffixes = append(suffixes, "-superuser")
	}
	if !has("bootstrap", "initdb", "secret", "name") && !has("bootstrap", "recovery", "secret", "name") && !has("bootstrap", "pg_basebackup", "secret", "name") {
		suffixes = append(suffixes, "-app")
	}
	for _, suffix := range suffixes {
		m.names[object.GetNamespace()+"/"+object.GetName()+suffix] = true
	}
}

// addPolicy adds what rules generate; variables in a name stand for anything.
func (m *makers) addPolicy(object *unstructured.Unstructured) {
	variable := regexp.MustCompile(`\{\{.*?\}\}`)
	pattern := func(text string) string {
		parts := variable.Split(text, -1)
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		return strings.Join(parts, "[^/]+")
	}
	visitMaps(object.Object["spec"], func(node map[string]any) {
		generate, _ := node["generate"].(map[string]any)
		if name := textOf(generate, "name"); textOf(generate, "kind") == "Secret" && name != "" {
			m.patterns = append(m.patterns, regexp.MustCompile("^"+pattern(textOf(generate, "namespace"))+"/"+pattern(name)+"$"))
		}
	})
}

// make reports whether the Secret is made by what Argo CD brings.
func (m *makers) make(namespace, name string) bool {
	key := namespace + "/" + name
	return m.names[key] ||
		!m.sources[key] && slices.ContainsFunc(m.patterns, func(pattern *regexp.Regexp) bool { return pattern.MatchString(key) }) ||
		slices.ContainsFunc(m.synced, func(e entry) bool { return standsIn(&e.object, namespace, name) })
}
