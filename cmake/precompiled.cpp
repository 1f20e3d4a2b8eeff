// What the precompiled headers belong to.
