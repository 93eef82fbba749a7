"""What connects the endpoint with tools in which people label images: Label Studio and CVAT.

Both know the endpoint by HTTP alone. `label_studio` needs the extra `web`; `cvat_function` runs where cvat-cli does.
"""
