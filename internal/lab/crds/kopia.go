package crds

import (
	"errors"
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// schema is one node of an OpenAPI v3 schema, as it stands in a CustomResourceDefinition.
type schema = map[string]any

// addKopia puts spec.kopia and status.kopia into VolSync's two definitions, as the fork with the Kopia
// mover has them. Every field has a type and unknown ones are pruned: a misspelt field in drctl's
// writes must fail here as it would there.
//
// Source: the CustomResourceDefinitions of the fork (perfectra1n/volsync), field names and types.
func addKopia(objects []*unstructured.Unstructured) error {
	done := 0
	for _, object := range objects {
		var spec func(volume schema) schema
		var status schema
		switch object.GetName() {
		case "replicationsources.volsync.backube":
			spec, status = sourceSpec, sourceStatus()
		case "replicationdestinations.volsync.backube":
			spec, status = destinationSpec, destinationStatus()
		default:
			continue
		}
		if err := addMover(object, spec, status); err != nil {
			return fmt.Errorf("crds: add the Kopia block to %s: %w", object.GetName(), err)
		}
		done++
	}
	if done != 2 {
		return fmt.Errorf("crds: %d of VolSync's 2 definitions are there", done)
	}
	return nil
}

// addMover builds the block on what all movers share (volume options, cache, mover settings). VolSync
// defines those once for all movers, so they are taken from the restic block of the same definition.
func addMover(object *unstructured.Unstructured, spec func(schema) schema, status schema) error {
	versions, _, err := unstructured.NestedSlice(object.Object, "spec", "versions")
	if err != nil || len(versions) != 1 {
		return errors.Join(fmt.Errorf("%d versions instead of one", len(versions)), err)
	}
	root := []string{"schema", "openAPIV3Schema", "properties"}
	version, ok := versions[0].(schema)
	if !ok {
		return fmt.Errorf("the version is a %T", versions[0])
	}
	restic, found, err := unstructured.NestedMap(version, append(root, "spec", "properties", "restic", "properties")...)
	if err != nil || !found {
		return errors.Join(errors.New("no restic block to take the shared fields from"), err)
	}
	if err := unstructured.SetNestedMap(version, spec(sharedFields(restic)), append(root, "spec", "properties", "kopia")...); err != nil {
		return err
	}
	if err := unstructured.SetNestedMap(version, status, append(root, "status", "properties", "kopia")...); err != nil {
		return err
	}
	return unstructured.SetNestedSlice(object.Object, versions, "spec", "versions")
}

// sharedFields drops what belongs to restic alone.
func sharedFields(restic schema) schema {
	shared := maps.Clone(restic)
	for _, own := range []string{"retain", "pruneIntervalDays", "unlock"} {
		delete(shared, own)
	}
	return shared
}

func sourceSpec(shared schema) schema {
	return object(shared, schema{
		"metadataCacheSizeLimitMB": int32Field(),
		"contentCacheSizeLimitMB":  int32Field(),
		"compression":              stringField(),
		"parallelism":              int32Field(),
		"retain": object(schema{
			"latest": int32Field(), "hourly": int32Field(), "daily": int32Field(),
			"weekly": int32Field(), "monthly": int32Field(), "yearly": int32Field(),
		}),
		"username":           identityField(),
		"hostname":           identityField(),
		"sourcePathOverride": pathField(),
		"repositoryPVC":      schema{"type": "string", "minLength": int64(1)},
		"actions":            object(schema{"beforeSnapshot": stringField(), "afterSnapshot": stringField()}),
		"policyConfig":       policyConfig(),
		"additionalArgs":     additionalArgs(),
	})
}

func destinationSpec(shared schema) schema {
	return object(shared, schema{
		"metadataCacheSizeLimitMB": int32Field(),
		"contentCacheSizeLimitMB":  int32Field(),
		"shallow":                  int32Field(),
		"username":                 identityField(),
		"hostname":                 identityField(),
		"sourceIdentity": object(schema{
			"sourceName": stringField(), "sourceNamespace": stringField(),
			"sourcePVCName": stringField(), "sourcePathOverride": pathField(),
		}),
		"policyConfig":   policyConfig(),
		"additionalArgs": additionalArgs(),
	})
}

func sourceStatus() schema {
	return object(schema{
		"lastMaintenance":          timeField(),
		"nextScheduledMaintenance": timeField(),
		"maintenanceFailures":      schema{"type": "integer"},
		"kopiaMaintenance":         stringField(),
	})
}

func destinationStatus() schema {
	available := object(schema{
		"identity": stringField(), "snapshotCount": int32Field(), "latestSnapshot": timeField(),
	})
	available["required"] = []any{"identity", "snapshotCount"}
	return object(schema{
		"requestedIdentity":   stringField(),
		"snapshotsFound":      int32Field(),
		"availableIdentities": schema{"type": "array", "items": available},
	})
}

func policyConfig() schema {
	return object(schema{
		"configMapName": stringField(), "secretName": stringField(), "globalPolicyFilename": stringField(),
		"repositoryConfig": stringField(), "repositoryConfigFilename": stringField(),
	})
}

// additionalArgs are at most 20, as in the fork.
func additionalArgs() schema {
	return schema{"type": "array", "maxItems": int64(20), "items": stringField()}
}

// identityField admits the names that the fork admits as username and hostname overrides.
func identityField() schema {
	return schema{"type": "string", "pattern": `^[a-zA-Z0-9]([a-zA-Z0-9._-]*[a-zA-Z0-9])?$`}
}

func pathField() schema   { return schema{"type": "string", "pattern": "^/.*"} }
func stringField() schema { return schema{"type": "string"} }
func int32Field() schema  { return schema{"type": "integer", "format": "int32"} }
func timeField() schema   { return schema{"type": "string", "format": "date-time"} }

// object is an object with the fields of all the given sets.
func object(sets ...schema) schema {
	fields := schema{}
	for _, set := range sets {
		maps.Copy(fields, set)
	}
	return schema{"type": "object", "properties": fields}
}
