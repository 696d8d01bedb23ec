package restore

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/drctl/drctl/internal/recovery"
)

// sorted gives the keys of a map.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func split(target string) (namespace, name string) {
	namespace, name, _ = strings.Cut(target, "/")
	return namespace, name
}

// pass is a moment in which everybody else does his next thing.
func (w *world) pass() {
	w.passPods()
	w.passClaims()
	w.passMovers()
	w.passControllers()
	w.passArgo()
	for _, i := range w.Images {
		if i.looks++; i.looks > 2 && i.Error == "" {
			i.Ready = true
		}
	}
}

// fenced is the plan that holds a claim, or its Pods, back from everybody else; empty for none.
func (w *world) fenced(target, planID, job string, pods bool) bool {
	for _, hold := range w.Fences {
		if hold.Namespace+"/"+hold.Claim != target || hold.PlanID == planID || (job != "" && job == hold.ExemptJob) {
			continue
		}
		if (pods && hold.Pods) || (!pods && hold.Manifest != nil) {
			return true
		}
	}
	return false
}

func (w *world) passPods() {
	for _, key := range sorted(w.Pods) {
		p := w.Pods[key]
		if p.Deleting && !p.NodeLost {
			if p.ends++; p.ends > 2 {
				delete(w.Pods, key)
			}
			continue
		}
		claim := w.Claims[p.Namespace+"/"+p.Claim]
		if p.Phase != "Pending" || claim == nil || claim.Phase != bound || claim.Deleting {
			continue
		}
		p.Phase, p.Ready = "Running", true
		data := w.Volumes[claim.Volume].Data
		w.lose(p.PlanID == "" && p.Job == "" && data != live && !strings.HasPrefix(data, "data of "), "Pod %s runs on %q", p.Name, data)
	}
}

// passControllers has the controllers make the Pods that they are short of.
func (w *world) passControllers() {
	for _, key := range sorted(w.Controllers) {
		c := w.Controllers[key]
		has := 0
		for _, p := range w.Pods {
			if p.Controller != nil && p.Controller.UID == c.UID {
				has++
			}
		}
		if has >= c.Wants || w.Claims[c.Namespace+"/"+c.Claim] == nil {
			continue
		}
		if c.patience > 0 {
			c.patience--
			continue
		}
		if w.fenced(c.Namespace+"/"+c.Claim, "", "", true) {
			c.patience = 60
			continue
		}
		uid := w.uid("pod")
		p := &pod{Namespace: c.Namespace, Claim: c.Claim, MountingPod: recovery.MountingPod{Name: c.Name + "-" + uid, UID: uid, Phase: "Pending", Controller: &c.Controller}}
		if c.keeps {
			p.Name = c.Name + "-0"
		}
		w.Pods[c.Namespace+"/"+p.Name] = p
	}
}

// newClaim is what admission and Kyverno make of a claim that is posted: one with the backup label and
// without a source of its own is populated from what the generated destination had once.
func (w *world) newClaim(manifest json.RawMessage, by string) string {
	var object struct {
		Metadata struct {
			Namespace, Name     string
			Labels, Annotations map[string]string
		}
		Spec struct {
			AccessModes      []string
			StorageClassName string
			DataSourceRef    struct{ Name string }
			Resources        struct{ Requests struct{ Storage string } }
		}
	}
	if err := json.Unmarshal(manifest, &object); err != nil {
		panic(err)
	}
	size := resource.MustParse(object.Spec.Resources.Requests.Storage)
	wave, _ := strconv.Atoi(object.Metadata.Annotations["argocd.argoproj.io/sync-wave"])
	claim := &recovery.LiveClaim{
		Namespace: object.Metadata.Namespace, Name: object.Metadata.Name, UID: w.uid("claim"), PlanID: object.Metadata.Annotations[recovery.PlanMark],
		Phase: "Pending", Backup: object.Metadata.Labels["backup"], Source: object.Spec.DataSourceRef.Name, StorageClass: object.Spec.StorageClassName,
		AccessModes: object.Spec.AccessModes, RequestBytes: size.Value(), Wave: wave, Manifest: manifest,
	}
	key := claim.Namespace + "/" + claim.Name
	w.Claims[key] = claim
	if claim.Backup == "" {
		return claim.UID
	}
	for _, kind := range []string{"Secret", "ReplicationDestination"} {
		w.Generated[kind+" "+key] = &recovery.GeneratedObject{Kind: kind, Name: claim.Name + "-backup", UID: w.uid("generated"), ClaimUID: claim.UID}
	}
	if claim.Source == "" && by == "argocd" && len(w.calls) > 0 {
		claim.Source = claim.Name + "-backup"
	}
	return claim.UID
}

func (w *world) bind(target, data string) {
	claim := w.Claims[target]
	v := &disk{Data: data, Class: claim.StorageClass, LiveVolume: recovery.LiveVolume{
		Name: "pv-" + claim.UID, Phase: bound, ReclaimPolicy: "Delete", ClaimUID: claim.UID, SizeBytes: max(claim.RequestBytes, 10*gib),
	}}
	w.Volumes[v.Name] = v
	claim.Volume, claim.Phase = v.Name, bound
}

func (w *world) passClaims() {
	for _, key := range sorted(w.Claims) {
		claim := w.Claims[key]
		used := false
		for _, p := range w.Pods {
			used = used || p.Namespace+"/"+p.Claim == key
		}
		switch {
		case claim.Deleting && !used:
			delete(w.Claims, key)
			w.release(claim)
		case !claim.Deleting && claim.Phase == "Pending" && (used || !w.classes[claim.StorageClass].WaitsForConsumer):
			w.populate(key, claim)
		}
	}
	for _, key := range sorted(w.Generated) {
		g := w.Generated[key]
		_, target, _ := strings.Cut(key, " ")
		if claim := w.Claims[target]; claim != nil && claim.UID == g.ClaimUID {
			continue
		}
		if g.UID += "."; strings.HasSuffix(g.UID, "...") {
			delete(w.Generated, key)
		}
	}
}

func (w *world) release(claim *recovery.LiveClaim) {
	v := w.Volumes[claim.Volume]
	if v == nil {
		return
	}
	if v.Phase = "Released"; v.ReclaimPolicy == "Delete" {
		delete(w.Volumes, v.Name)
		w.lose(v.Data == live, "volume %s with the live data is gone", v.Name)
	}
}

// populate fills an unbound claim.
func (w *world) populate(key string, claim *recovery.LiveClaim) {
	if claim.Source == "" {
		w.bind(key, "")
		return
	}
	if claim.Source == claim.Name+"-backup" {
		w.bind(key, "old image of the generated destination")
		return
	}
	m := w.Movers["destination "+claim.Namespace+"/"+claim.Source]
	if m == nil || m.Image == "" || w.stuckPopulator {
		return
	}
	w.bind(key, m.Data)
}

// passArgo has Argo CD create what is in Git and not in the cluster. One that was refused a few times gives
// up until it is told to sync.
func (w *world) passArgo() {
	for _, key := range sorted(w.git) {
		if w.Claims[key] != nil || w.app == nil || !w.app.AutoSync || w.gaveUp {
			continue
		}
		if w.fenced(key, "", "", false) {
			w.gaveUp = w.leaks
			continue
		}
		w.newClaim(w.git[key], "argocd")
		w.lose(len(w.calls) > 0, "Argo CD created claim %s", key)
	}
}

// delete is somebody's accepted DELETE.
func (w *world) delete(key string) { w.Claims[key].Deleting = true }

// recreate is somebody who replaces a claim in one go.
func (w *world) recreate(key string) {
	old := w.Claims[key]
	delete(w.Claims, key)
	w.release(old)
	w.newClaim(w.git[key], "somebody")
	w.bind(key, live)
}
