"""A benchmark's generator -> a folder that draws faces in a browser, offline: ``python -m generate demo``.

The folder holds the page (``page/``, plain HTML, CSS and JavaScript), the generator and the identity network as ONNX,
demo.json with everything else that drawing needs, and onnxruntime-web. May import bench, ``generate.export``,
``generate.draw``, ``generate.render``, ``generate.networks``, ``generate.vec2face`` and ``generate.identities``.
"""
