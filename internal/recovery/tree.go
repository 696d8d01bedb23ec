package recovery

// DirectoryAnnotation stands on objects that were read from a GitOps tree (in memory only, never in a
// cluster): the folder of the manifest, relative to the tree, with slashes; "." for the tree itself.
const DirectoryAnnotation = "drctl.dev/directory"
