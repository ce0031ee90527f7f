"""Seeds -> rendered faces of known pose, age and light. Imports no torch, and of generate only this folder."""
