package volsync

import (
	"fmt"
	"regexp"

	volsyncv1alpha1 "github.com/backube/volsync/api/v1alpha1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/drctl/drctl/internal/recovery"
)

const (
	managedBy = "app.kubernetes.io/managed-by"
	drctl     = "drctl"
	// override is what the definition of the fork admits as a username or hostname.
	// Source: perfectra1n/volsync config/crd, ReplicationDestination spec.kopia.username.
	override = `^[a-zA-Z0-9]([a-zA-Z0-9._-]*[a-zA-Z0-9])?$`
)

// Destination is a ReplicationDestination of drctl's own, which runs once.
type Destination struct {
	PlanID, Namespace, Name string
	Template                Template
	// Identity is whom to restore from.
	Identity recovery.KopiaSource
	// RestoreAsOf is compared as a string with the snapshots' startTime; Previous counts from there.
	RestoreAsOf string
	Previous    int
	// Into is the claim to write into, empty for a VolumeSnapshot of a new volume.
	Into string
	// Exact removes what the snapshot does not have.
	Exact         bool
	StorageClass  string
	AccessModes   []string
	CapacityBytes int64
}

// Source is a ReplicationSource of drctl's own, which runs once and backs up under the template's identity.
type Source struct {
	PlanID, Namespace, Name, Claim string
	Template                       Template
	StorageClass                   string
	AccessModes                    []string
	CapacityBytes                  int64
}

// Manifest is the object, with the Secret of its own name.
func (d Destination) Manifest() (*unstructured.Unstructured, error) {
	block := pick(d.Template.Kopia, sharedFields())
	block["repository"], block["cleanupCachePVC"] = d.Name, true
	identity, err := destinationIdentity(d.Identity)
	if err != nil {
		return nil, err
	}
	for field, value := range identity {
		block[field] = value
	}
	if d.RestoreAsOf != "" {
		block["restoreAsOf"] = d.RestoreAsOf
	}
	if d.Previous > 0 {
		block["previous"] = int64(d.Previous)
	}
	if d.Into != "" {
		block["copyMethod"], block["destinationPVC"], block["enableFileDeletion"] = copyDirect, d.Into, d.Exact
		return d.object(block), nil
	}
	if d.CapacityBytes <= 0 || len(d.AccessModes) == 0 {
		return nil, &recovery.Problem{
			What: "make ReplicationDestination " + d.Namespace + "/" + d.Name, Why: "the size or the access modes of the new volume are not known",
			Next: "give them", Err: recovery.ErrUsage,
		}
	}
	block["copyMethod"], block["cleanupTempPVC"] = copySnapshot, true
	setVolume(block, d.StorageClass, d.Template.SnapshotClass, d.AccessModes, d.CapacityBytes)
	return d.object(block), nil
}

func (d Destination) object(block map[string]any) *unstructured.Unstructured {
	return object("ReplicationDestination", d.Namespace, d.Name, d.PlanID, map[string]any{
		"trigger": map[string]any{"manual": d.PlanID}, "kopia": block,
	})
}

// Manifest is the object, with the Secret of its own name. Retention and everything else stay as in the
// template, since the mover sets them for the identity.
func (s Source) Manifest() (*unstructured.Unstructured, error) {
	block := runtime.DeepCopyJSON(s.Template.Kopia)
	id := s.Template.Identity
	allowed := regexp.MustCompile(override)
	if !allowed.MatchString(id.Username) || !allowed.MatchString(id.Hostname) {
		return nil, unnameable(id, "a ReplicationSource of another name can't back up under it")
	}
	block["repository"], block["username"], block["hostname"] = s.Name, id.Username, id.Hostname
	if id.Path != defaultPath {
		block["sourcePathOverride"] = id.Path
	}
	if block["copyMethod"] == nil {
		block["copyMethod"] = copySnapshot
	}
	if block["copyMethod"] != copyDirect && block["storageClassName"] == nil && s.StorageClass != "" {
		block["storageClassName"] = s.StorageClass
	}
	if block["copyMethod"] == copySnapshot && block["volumeSnapshotClassName"] == nil && s.Template.SnapshotClass != "" {
		block["volumeSnapshotClassName"] = s.Template.SnapshotClass
	}
	return object("ReplicationSource", s.Namespace, s.Name, s.PlanID, map[string]any{
		"sourcePVC": s.Claim, "trigger": map[string]any{"manual": s.PlanID}, "kopia": block,
	}), nil
}

// setVolume says what the temporary volume looks like.
func setVolume(block map[string]any, class, snapshotClass string, modes []string, capacity int64) {
	block["capacity"] = resource.NewQuantity(capacity, resource.BinarySI).String()
	list := make([]any, 0, len(modes))
	for _, mode := range modes {
		list = append(list, mode)
	}
	block["accessModes"] = list
	if class != "" {
		block["storageClassName"] = class
	}
	if snapshotClass != "" {
		block["volumeSnapshotClassName"] = snapshotClass
	}
}

// destinationIdentity makes a mover look for exactly that identity: by username and hostname as they stand,
// or, where the definition does not admit them or the path is another one, by the name of a
// ReplicationSource that would have it. With username and hostname the fork takes no path.
// Source: perfectra1n/volsync internal/controller/mover/kopia/builder.go, FromDestination.
func destinationIdentity(id recovery.KopiaSource) (map[string]any, error) {
	allowed := regexp.MustCompile(override)
	if id.Path == defaultPath && allowed.MatchString(id.Username) && allowed.MatchString(id.Hostname) {
		return map[string]any{"username": id.Username, "hostname": id.Hostname}, nil
	}
	// The fork cuts at 50 bytes and does not trim again: a longer name stands for one that ends in a dash.
	for _, name := range []string{id.Username, id.Username + "x"} {
		if Identity(id.Hostname, name, Overrides{SourcePath: id.Path}) != id {
			continue
		}
		// A claim's name keeps the fork from asking that ReplicationSource for its path.
		fields := map[string]any{"sourceName": name, "sourceNamespace": id.Hostname, "sourcePVCName": "any"}
		if id.Path != defaultPath {
			fields["sourcePathOverride"] = id.Path
		}
		return map[string]any{"sourceIdentity": fields}, nil
	}
	return nil, unnameable(id, "no ReplicationDestination can be told to look for it")
}

func unnameable(id recovery.KopiaSource, why string) error {
	return &recovery.Problem{
		What: fmt.Sprintf("use the identity %s", id), Why: why, Next: "take the files out without VolSync: drctl pvc extract", Err: recovery.ErrUnsupported,
	}
}

// object is marked as the plan's, and carries no label that a policy of the platform's looks for.
func object(kind, namespace, name, planID string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": volsyncv1alpha1.GroupVersion.String(), "kind": kind, "metadata": metadata(namespace, name, planID), "spec": spec,
	}}
}

func metadata(namespace, name, planID string) map[string]any {
	return map[string]any{
		"namespace": namespace, "name": name,
		"labels":      map[string]any{managedBy: drctl, recovery.PlanMark: planID},
		"annotations": map[string]any{recovery.PlanMark: planID},
	}
}
