#include "CoreMinimal.h"
#include "Modules/ModuleManager.h"
#include "NpcLocalServer.h"
#include "NpcLog.h"

DEFINE_LOG_CATEGORY(LogNpcSdk);

class FNpcSdkModule final : public IModuleInterface
{
public:
	virtual void ShutdownModule() override { FNpcLocalServer::Stop(); }
};

IMPLEMENT_MODULE(FNpcSdkModule, NpcSdk)
