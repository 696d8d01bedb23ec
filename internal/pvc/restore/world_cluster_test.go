package restore

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/drctl/drctl/internal/recovery"
)

type fakeCluster struct{ *world }

func (c fakeCluster) Identity(context.Context) (Identity, error) {
	return Identity{ClusterUID: clusterUID, Server: "https://home", Context: "home"}, nil
}

func (c fakeCluster) Requirements(context.Context) ([]string, error) { return c.missing, nil }

func (c fakeCluster) Classes(context.Context) (map[string]recovery.StorageClass, string, error) {
	return c.classes, "longhorn", nil
}

func (c fakeCluster) Events(context.Context, string, string, string) (string, error) {
	return "waiting for a volume to be created", nil
}

func (c fakeCluster) Claim(ctx context.Context, namespace, name string) (found *recovery.LiveClaim, err error) {
	return found, c.do(ctx, "claim", func() error {
		if claim := c.world.Claims[namespace+"/"+name]; claim != nil {
			same := *claim
			if same.Deleting {
				same.Holding = []string{"kubernetes.io/pvc-protection"}
			}
			found = &same
		}
		return nil
	})
}

func (c fakeCluster) LookClaim(ctx context.Context, namespace, name string) (*recovery.LiveClaim, error) {
	return c.Claim(ctx, namespace, name)
}

func (c fakeCluster) Claims(ctx context.Context, namespace string) (all []recovery.LiveClaim, err error) {
	return all, c.do(ctx, "claims", func() error {
		for _, key := range sorted(c.world.Claims) {
			if claim := c.world.Claims[key]; namespace == "" || claim.Namespace == namespace {
				all = append(all, *claim)
			}
		}
		return nil
	})
}

func (c fakeCluster) Volume(ctx context.Context, name string) (found *recovery.LiveVolume, err error) {
	return found, c.do(ctx, "volume", func() error {
		if v := c.Volumes[name]; v != nil {
			same := v.LiveVolume
			found = &same
		}
		return nil
	})
}

func (c fakeCluster) SetReclaimPolicy(ctx context.Context, volume, claimUID, policy string) error {
	return c.do(ctx, "set-policy", func() error {
		v := c.Volumes[volume]
		switch {
		case v == nil:
			return recovery.ErrNotFound
		case v.ClaimUID != claimUID || v.Phase != bound:
			return recovery.ErrConflict
		}
		v.ReclaimPolicy = policy
		return nil
	})
}

func (c fakeCluster) Pods(ctx context.Context, namespace, claim string) (all []recovery.MountingPod, err error) {
	return all, c.do(ctx, "pods", func() error {
		for _, key := range sorted(c.world.Pods) {
			if p := c.world.Pods[key]; p.Namespace == namespace && p.Claim == claim {
				all = append(all, p.MountingPod)
			}
		}
		return nil
	})
}

func (c fakeCluster) LookPods(ctx context.Context, namespace, claim string) ([]recovery.MountingPod, error) {
	return c.Pods(ctx, namespace, claim)
}

func (c fakeCluster) DeletePod(ctx context.Context, namespace string, which recovery.MountingPod) error {
	return c.do(ctx, "delete-pod", func() error {
		if p := c.world.Pods[namespace+"/"+which.Name]; p != nil && p.UID == which.UID {
			p.Deleting, p.Ready = true, false
		}
		return nil
	})
}

func (c fakeCluster) DeleteClaim(ctx context.Context, namespace, name, uid string) error {
	return c.do(ctx, "delete-claim", func() error {
		claim := c.world.Claims[namespace+"/"+name]
		switch {
		case claim == nil:
			return recovery.ErrNotFound
		case uid != "" && claim.UID != uid:
			return fmt.Errorf("the UID is another one: %w", recovery.ErrConflict)
		}
		claim.Deleting = true
		return nil
	})
}

func (c fakeCluster) CreateClaim(ctx context.Context, manifest json.RawMessage) (uid string, err error) {
	return uid, c.do(ctx, "create-claim", func() error {
		key, plan := named(manifest)
		switch {
		case c.world.Claims[key] != nil:
			return recovery.ErrExists
		case c.fenced(key, plan, "", false):
			return recovery.ErrDenied
		}
		uid = c.newClaim(manifest, "drctl")
		return nil
	})
}

// named gives the target of a manifest, and the plan that it is marked with.
func named(manifest json.RawMessage) (target, plan string) {
	var object struct {
		Metadata struct {
			Namespace, Name string
			Annotations     map[string]string
		}
	}
	if err := json.Unmarshal(manifest, &object); err != nil {
		panic(err)
	}
	return object.Metadata.Namespace + "/" + object.Metadata.Name, object.Metadata.Annotations[recovery.PlanMark]
}

func (c fakeCluster) AdmitClaim(ctx context.Context, _ json.RawMessage) error {
	return c.do(ctx, "admit", func() error { return c.admission })
}

func (c fakeCluster) ReleaseClaim(ctx context.Context, namespace, name, uid, planID string) error {
	return c.do(ctx, "release-claim", func() error {
		claim := c.world.Claims[namespace+"/"+name]
		if claim == nil || claim.UID != uid || claim.PlanID != planID {
			return recovery.ErrConflict
		}
		claim.PlanID = ""
		return nil
	})
}

func (c fakeCluster) Generated(ctx context.Context, namespace, claim string) (all []recovery.GeneratedObject, err error) {
	return all, c.do(ctx, "generated", func() error {
		for _, key := range sorted(c.world.Generated) {
			if g := c.world.Generated[key]; key == g.Kind+" "+namespace+"/"+claim {
				all = append(all, *g)
			}
		}
		return nil
	})
}

func (c fakeCluster) CreateConsumer(ctx context.Context, namespace, name, claim, planID string) error {
	return c.do(ctx, "create-consumer", func() error {
		if c.world.Pods[namespace+"/"+name] == nil {
			c.world.Pods[namespace+"/"+name] = &pod{Namespace: namespace, Claim: claim, MountingPod: recovery.MountingPod{
				Name: name, UID: c.uid("pod"), Phase: "Pending", PlanID: planID,
			}}
		}
		return nil
	})
}

func (c fakeCluster) RemoveConsumer(ctx context.Context, namespace, name, planID string) error {
	return c.do(ctx, "remove-consumer", func() error {
		if p := c.world.Pods[namespace+"/"+name]; p != nil && p.PlanID == planID {
			p.Deleting = true
		}
		return nil
	})
}

func (c fakeCluster) Touch(ctx context.Context, _ string, which recovery.Controller, _ string) error {
	return c.do(ctx, "touch", func() error {
		for _, known := range c.Controllers {
			if known.UID == which.UID {
				known.patience = 0
			}
		}
		return nil
	})
}

func (c fakeCluster) SnapshotVolume(ctx context.Context, namespace, claim, name, class, planID string) error {
	return c.do(ctx, "snapshot-volume", func() error {
		if c.Images[namespace+"/"+name] == nil {
			c.lose(class == "", "a VolumeSnapshot without a class")
			c.Images[namespace+"/"+name] = &image{
				VolumeSnapshot: recovery.VolumeSnapshot{Name: name, UID: c.uid("image"), PlanID: planID}, Data: c.Volumes[c.world.Claims[namespace+"/"+claim].Volume].Data,
			}
		}
		return nil
	})
}

func (c fakeCluster) VolumeSnapshot(ctx context.Context, namespace, name string) (found *recovery.VolumeSnapshot, err error) {
	return found, c.do(ctx, "volume-snapshot", func() error {
		if i := c.Images[namespace+"/"+name]; i != nil {
			same := i.VolumeSnapshot
			found = &same
		}
		return nil
	})
}

func (c fakeCluster) RemoveVolumeSnapshot(ctx context.Context, namespace, name, planID string) error {
	return c.do(ctx, "remove-snapshot", func() error {
		if i := c.Images[namespace+"/"+name]; i != nil && i.PlanID == planID {
			delete(c.Images, namespace+"/"+name)
		}
		return nil
	})
}
