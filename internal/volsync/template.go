package volsync

import (
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/recovery"
)

const (
	// copySnapshot takes a VolumeSnapshot, copyDirect works on the claim itself.
	copySnapshot, copyDirect = "Snapshot", "Direct"
	// fallbackSecret is where the platform keeps the password of the repository that all claims share.
	fallbackSecret = "volsync-system/kopia-credentials"
	// moverUser is the user, group and file system group of the platform's movers.
	moverUser = int64(568)
	// platformSnapshotClass is what the platform's policy names.
	platformSnapshotClass = "longhorn-snapclass"
)

// Template is what a mover of a claim looks like: what its own objects say, or what the platform's policy
// would generate.
type Template struct {
	// Identity is where the claim's own backups are.
	Identity recovery.KopiaSource
	// Secret opens the repository, in the claim's namespace. Fallback (NAMESPACE/NAME) has the password where
	// that Secret is gone.
	Secret, Fallback string
	// Kopia is the block to copy, without what belongs to one object: repository, identity and path.
	Kopia map[string]any
	// SourceName is the ReplicationSource that it was taken from, empty for none.
	SourceName string
	// SnapshotClass is the VolumeSnapshotClass that it names, empty for the cluster's default one.
	SnapshotClass string
	Paused        bool
	Schedule      string
}

// FromPolicy is what the platform's policy generates for a claim.
func FromPolicy(namespace, claim string) Template {
	inferred := Inferred(recovery.Claim{Namespace: namespace, Name: claim})
	return Template{
		Identity: inferred.Identity, Secret: inferred.RepositorySecret, Fallback: fallbackSecret, SnapshotClass: platformSnapshotClass,
		Kopia: map[string]any{
			"copyMethod": copySnapshot, "volumeSnapshotClassName": platformSnapshotClass,
			"compression": "zstd-fastest", "parallelism": int64(2),
			"retain":               map[string]any{"hourly": int64(24), "daily": int64(7), "weekly": int64(4), "monthly": int64(2)},
			"moverSecurityContext": map[string]any{"runAsUser": moverUser, "runAsGroup": moverUser, "fsGroup": moverUser},
		},
	}
}

// TemplateOf reads a claim's template off its ReplicationSource, else off its ReplicationDestination, else
// takes the policy's. Of several sources the policy's own is taken, else the first with a schedule, else
// the first by name.
func TemplateOf(namespace, claim string, sources, destinations []*unstructured.Unstructured) (Template, error) {
	template := FromPolicy(namespace, claim)
	if source := sourceFor(claim, sources); source != nil {
		return template.from(source, true)
	}
	for _, destination := range destinations {
		if destination.GetName() == claim+"-backup" && kopiaBlock(destination) != nil {
			return template.from(destination, false)
		}
	}
	return template, nil
}

// sourceFor is the ReplicationSource that backs the claim up.
func sourceFor(claim string, sources []*unstructured.Unstructured) *unstructured.Unstructured {
	var candidates []*unstructured.Unstructured
	for _, source := range sources {
		of, _, _ := unstructured.NestedString(source.Object, "spec", "sourcePVC")
		if of == claim && kopiaBlock(source) != nil && source.GetLabels()[managedBy] != drctl {
			candidates = append(candidates, source)
		}
	}
	if len(candidates) == 0 {
		return nil
	}
	rank := func(source *unstructured.Unstructured) string {
		schedule, _, _ := unstructured.NestedString(source.Object, "spec", "trigger", "schedule")
		switch {
		case source.GetName() == claim+"-backup":
			return "0"
		case schedule != "":
			return "1" + source.GetName()
		}
		return "2" + source.GetName()
	}
	return slices.MinFunc(candidates, func(x, y *unstructured.Unstructured) int {
		if rank(x) < rank(y) {
			return -1
		}
		return 1
	})
}

func kopiaBlock(object *unstructured.Unstructured) map[string]any {
	block, _, _ := unstructured.NestedMap(object.Object, "spec", "kopia")
	return block
}

// from lays what an object says over the template. A ReplicationDestination says nothing of retention and
// compression, and its identity is not that of the backups.
func (t Template) from(object *unstructured.Unstructured, source bool) (Template, error) {
	block := kopiaBlock(object)
	text := func(field string) string {
		value, _ := block[field].(string)
		return value
	}
	if text("repository") == "" {
		return t, &recovery.Problem{
			What: fmt.Sprintf("read %s %s/%s", object.GetKind(), object.GetNamespace(), object.GetName()),
			Why:  "spec.kopia.repository names no Secret", Next: "correct it", Err: recovery.ErrDamaged,
		}
	}
	t.Secret, t.SnapshotClass = text("repository"), text("volumeSnapshotClassName")
	if source {
		overrides := Overrides{Username: text("username"), Hostname: text("hostname"), SourcePath: text("sourcePathOverride")}
		t.Identity, t.SourceName = Identity(object.GetNamespace(), object.GetName(), overrides), object.GetName()
		t.Paused, _, _ = unstructured.NestedBool(object.Object, "spec", "paused")
		t.Schedule, _, _ = unstructured.NestedString(object.Object, "spec", "trigger", "schedule")
		t.Kopia = block
	} else {
		t.Kopia = maps.Clone(t.Kopia)
		delete(t.Kopia, "volumeSnapshotClassName")
		maps.Copy(t.Kopia, pick(block, sharedFields()))
	}
	for _, own := range []string{"repository", "username", "hostname", "sourcePathOverride"} {
		delete(t.Kopia, own)
	}
	return t, nil
}

// sharedFields are those of a mover, whichever way it copies. additionalArgs are not: they are the
// arguments of one command of Kopia's.
func sharedFields() []string {
	return []string{
		"cacheCapacity", "cacheStorageClassName", "cacheAccessModes", "metadataCacheSizeLimitMB", "contentCacheSizeLimitMB",
		"moverSecurityContext", "moverServiceAccount", "moverResources", "moverAffinity", "moverPodLabels", "moverVolumes",
		"policyConfig", "customCA",
	}
}

func pick(block map[string]any, fields []string) map[string]any {
	picked := map[string]any{}
	for _, field := range fields {
		if value, there := block[field]; there {
			picked[field] = value
		}
	}
	return picked
}
