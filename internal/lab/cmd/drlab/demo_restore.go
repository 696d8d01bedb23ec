package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/restoreworld"
)

// restore damages the files of a claim, and restores them: by Pods that run the real Kopia on the lab's node,
// while Argo CD's stand-in heals as eagerly as the real one. Kyverno is left out: it takes long to build.
func (d *demo) restore(ctx context.Context) (err error) {
	if missing := lab.MissingForRestore(); missing != "" {
		d.say("4. Restoring a claim is shown where %s.", missing)
		return nil
	}
	d.say("4. A claim holds wrong files, and is restored: VolSync's movers with the real Kopia, real volumes, Argo CD that heals every 0.5 s.")
	d.logf("starting a cluster with volumes, movers and an application (about 20 s)")
	// What Argo CD's stand-in does meanwhile shows in what drctl says.
	stack := lab.NewStack(filepath.Join(d.dir, "restore"), func(format string, args ...any) {
		if !strings.HasPrefix(format, "argocd:") {
			d.logf(format, args...)
		}
	})
	defer func() { err = errors.Join(err, stack.Close()) }()
	world, err := restoreworld.Up(ctx, stack, restoreworld.Options{Interval: 500 * time.Millisecond, Program: d.drctl, WithoutKyverno: true})
	if err != nil {
		return err
	}
	attempt, err := world.Attempt(ctx, restoreworld.Replace)
	if err != nil {
		return err
	}
	d.say("An application wrote a tree of files; it was backed up; then an upgrade overwrote some of them. Hash of the tree that is backed up:\n   %s", attempt.Hash)
	if err := d.treeHash(ctx, world); err != nil {
		return err
	}
	for _, args := range []string{"pvc snapshots notes/data", "pvc restore notes/data --yes"} {
		if err := d.as(ctx, attempt.Operator, args); err != nil {
			return err
		}
	}
	if err := d.treeHash(ctx, world); err != nil {
		return err
	}
	// The oracle: hashes, volumes, Pods, the Application, and that nothing of drctl's is left.
	return attempt.Done(ctx)
}

// treeHash shows what the claim holds now: content, modes, owners, times, links.
func (d *demo) treeHash(ctx context.Context, world *restoreworld.World) error {
	hash, err := world.ClaimHash(ctx, restoreworld.Namespace, restoreworld.Claim)
	if err == nil {
		d.say("Hash of the tree that claim notes/data holds now:\n   %s", hash)
	}
	return err
}
