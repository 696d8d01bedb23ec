package cloudnativepg

import (
	"encoding/json"
	"fmt"
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/recovery"
)

// jsonOperation is one operation of a JSON patch (RFC 6902).
type jsonOperation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// HandBackPatch is the JSON patch that gives a recovered Cluster back to Git: Git's bootstrap in place of
// the recovery, and Git's externalClusters. Only then does Argo CD's forced apply pass: as long as
// recovery stands there, which another field manager owns, CloudNativePG refuses it ("Only one bootstrap
// method"). The patch tests the live object's UID and that its recovery still stands, so that it can't
// hit a replacement, nor run twice.
//
// needed is false when the live Cluster has no recovery any more. The patch must not be sent before the
// recovery is proven: until a volume is ready the operator reads bootstrap again, and would initialise
// an empty database.
//
// It is refused (recovery.ErrUnsupported) when Git has a recovery itself, or names another place to
// write to than the live Cluster: Argo CD would bring that in next. Live must carry the whole object of
// the API server, git the manifest as it is built.
func HandBackPatch(live, git *unstructured.Unstructured) (patch []byte, needed bool, err error) {
	if err := agree(live, git); err != nil {
		return nil, false, err
	}
	if !HasRecovery(live) {
		return nil, false, nil
	}
	block, _, _ := unstructured.NestedFieldNoCopy(live.Object, "spec", "bootstrap", BootstrapRecovery)
	operations := []jsonOperation{
		{"test", "/metadata/uid", string(live.GetUID())},
		{"test", "/spec/bootstrap/recovery", block},
		setOrRemove("/spec/bootstrap", git, "spec", "bootstrap"),
	}
	liveClusters, liveHas, _ := unstructured.NestedFieldNoCopy(live.Object, "spec", "externalClusters")
	gitClusters, gitHas, _ := unstructured.NestedFieldNoCopy(git.Object, "spec", "externalClusters")
	if (liveHas || gitHas) && !reflect.DeepEqual(liveClusters, gitClusters) {
		operations = append(operations, setOrRemove("/spec/externalClusters", git, "spec", "externalClusters"))
	}
	patch, err = json.Marshal(operations)
	if err != nil {
		return nil, false, fmt.Errorf("encode the hand-back of Cluster %s: %w", fullName(live), err)
	}
	return patch, true, nil
}

// setOrRemove makes a member of the live object what it is in Git ("add" replaces what is there), or
// removes it where Git has none: CloudNativePG then applies its defaults, as it does for Git's manifest.
func setOrRemove(path string, git *unstructured.Unstructured, fields ...string) jsonOperation {
	value, found, _ := unstructured.NestedFieldNoCopy(git.Object, fields...)
	if !found || value == nil {
		return jsonOperation{Op: "remove", Path: path}
	}
	return jsonOperation{"add", path, value}
}

// agree refuses a hand-back after which Argo CD would change what the Cluster is or writes to.
func agree(live, git *unstructured.Unstructured) error {
	refuse := func(why, next string) error {
		return &recovery.Problem{What: fmt.Sprintf("hand Cluster %s back to Git", fullName(live)), Why: why, Next: next, Err: recovery.ErrUnsupported}
	}
	if live.GetUID() == "" {
		return refuse("the live object carries no UID", "read it from the API server")
	}
	if live.GetName() != git.GetName() || (git.GetNamespace() != "" && live.GetNamespace() != git.GetNamespace()) {
		return refuse("Git's manifest is of Cluster "+fullName(git), "give the tree of this Cluster: --gitops DIR")
	}
	if HasRecovery(git) {
		return refuse("Git's manifest has bootstrap.recovery, which rolls the database back whenever the Cluster is created anew",
			"put bootstrap.initdb back in Git, commit and push it")
	}
	writes, err := placeOf(live)
	if err != nil {
		return err
	}
	wanted, err := placeOf(git)
	if err != nil {
		return err
	}
	if writes != wanted {
		return refuse(fmt.Sprintf("it writes backups to %s, Git's manifest says %s", writes, wanted),
			"have Git name the place that the Cluster writes to, commit and push it")
	}
	return nil
}

// placeOf names the place that a Cluster writes to.
func placeOf(manifest *unstructured.Unstructured) (string, error) {
	cluster, err := decodeCluster(manifest)
	if err != nil {
		return "", err
	}
	write, err := writeSideOf(manifest, cluster)
	if err != nil {
		return "", err
	}
	if write.plugin {
		return fmt.Sprintf("server %s in ObjectStore %s", write.server, write.store), nil
	}
	return fmt.Sprintf("server %s in %s", write.server, write.store), nil
}

// DropManagerPatch is the JSON patch that takes a field manager's entries out of a live object's
// managedFields. After the hand-back Argo CD owns what Git says, but drctl, which created the object,
// still owns the whole spec beside it, and Argo CD could not remove a field that leaves Git.
//
// needed is false when the manager has no entry. The patch tests the object's resourceVersion and the
// manager's name in each place, and fails when anything changed meanwhile: read the object again then.
// When no other manager owns spec yet, it is refused (recovery.ErrUnsupported): the next apply would
// then find an object that was never applied. Live must be read by itself: listings carry no
// managedFields.
func DropManagerPatch(live *unstructured.Unstructured, manager string) (patch []byte, needed bool, err error) {
	entries := live.GetManagedFields()
	operations := []jsonOperation{{"test", "/metadata/resourceVersion", live.GetResourceVersion()}}
	othersOwnSpec := false
	for i := len(entries) - 1; i >= 0; i-- { // from the end, so that the places of the others stay
		if entries[i].Manager != manager {
			othersOwnSpec = othersOwnSpec || (entries[i].Subresource == "" && ownsSpec(entries[i].FieldsV1))
			continue
		}
		path := fmt.Sprintf("/metadata/managedFields/%d", i)
		operations = append(operations, jsonOperation{"test", path + "/manager", manager}, jsonOperation{Op: "remove", Path: path})
	}
	if len(operations) == 1 {
		return nil, false, nil
	}
	if !othersOwnSpec {
		return nil, false, &recovery.Problem{
			What: fmt.Sprintf("drop the fields of %s that %s owns", fullName(live), manager),
			Why:  "nobody else has applied the object yet",
			Next: "sync its Application first",
			Err:  recovery.ErrUnsupported,
		}
	}
	patch, err = json.Marshal(operations)
	if err != nil {
		return nil, false, fmt.Errorf("encode the patch of the managedFields of %s: %w", fullName(live), err)
	}
	return patch, true, nil
}
